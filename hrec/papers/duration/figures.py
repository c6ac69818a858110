"""Figures 2 to 4 of the DURation paper, each with the numbers behind the impression."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import gaussian_kde
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics.cluster import pair_confusion_matrix
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import StandardScaler

from hrec.config import ConfigError
from hrec.datasets import planted
from hrec.datasets.recdata import RecData, Split
from hrec.experiments.plots import plt, save
from hrec.experiments.reports import cell
from hrec.experiments.runs import Done, Job, run_all, split_of, whole
from hrec.experiments.significance import compare
from hrec.models.base import BaseModel
from hrec.models.hetero.duration import DURation
from hrec.models.layers.fields import Fields
from hrec.models.losses import alignment
from hrec.papers.duration.published import CLAIMS, NO_TOPOLOGY, RELATIVE, TOPOLOGY
from hrec.papers.duration.runs import Options, Row, tune
from hrec.pipeline.checkpoints import Checkpoints

SAMPLE = 1_000
"""Items of each kind that figures 3 and 4 look at, drawn with a fixed seed."""


def save_items(model: BaseModel, parts: Split, folder: Path) -> None:
    """Keep of every item the image f_p of its columns, and the item vector x (without the numbers of the bias)."""
    assert isinstance(model, DURation)
    model.eval()
    arrays: dict[str, Any] = {}
    with torch.no_grad():
        for kind, table in parts.train.kinds.items():
            rows = torch.arange(table.count, device=model.device).split(4096)
            arrays[f"mapped/{kind}"] = torch.cat([model.mapped(r + table.start) for r in rows]).cpu().numpy()
            vectors = torch.cat([model.item_vectors(r + table.start) for r in rows]).cpu().numpy()
            arrays[f"vector/{kind}"] = vectors[:, : model.config.item_hidden_size_list[-1]]
    np.savez(folder / "items.npz", **arrays)


def items_of(done: Done) -> dict[str, np.ndarray]:
    return whole(done.folder / "items.npz", lambda path: dict(np.load(path)))


def trained(options: Options, ways: dict[str, tuple[str, ...]]) -> dict[str, list[Done]]:
    """DURation trained in each of these ways with every seed, its items kept."""
    row = Row("DURation", "He")
    best = tune(options, [row], later=len(ways) * options.seeds)[row]
    base = [options.job("DURation", *best, *more, seed=s) for more in ways.values() for s in range(options.seeds)]
    done = run_all([Job(job.config, job.overrides, job.seed, save_items) for job in base], options.out, options.jobs)
    for job, each in zip(base, done, strict=True):
        if not (each.folder / "items.npz").exists():  # a run of another experiment, which kept none
            _save_again(job, each)
    return dict(zip(ways, options.by_row(done), strict=True))


def _save_again(job: Job, done: Done) -> None:
    config = job.load()
    parts = split_of(config)
    model = config.model_class(config.model, parts.train)
    Checkpoints(done.folder).load_best(model)
    save_items(model, parts, done.folder)


# -------------------------------------------------------------------------------------------- figure 2


def known_pairs(options: Options, data: RecData) -> tuple[str, str, np.ndarray]:
    """Two kinds, and int[n, 2]: items, counted within their kinds, that are one thing in both."""
    settings = options.job("DURation").load().run.data
    if settings.planted is not None:
        pairs = planted.make(settings.planted.size, settings.planted.seed).pairs
        return "book", "film", pairs - np.array([data.kinds["book"].start, data.kinds["film"].start])
    kinds = list(data.kinds)
    common = [(len(np.intersect1d(_ids(data, a), _ids(data, b))), a, b) for a, b in combinations(kinds, 2)]
    count, a, b = max(common, default=(0, "", ""))
    if not count:
        raise ConfigError(f"no item of '{data.name}' is in two kinds: figure 2 has nothing to show on it")
    _, left, right = np.intersect1d(_ids(data, a), _ids(data, b), return_indices=True)
    return a, b, np.stack([left, right], axis=1)


def _ids(data: RecData, kind: str) -> np.ndarray:
    ids = data.kinds[kind].ids
    return np.array([], object) if ids is None else ids


def figure2(options: Options) -> None:
    """Similarity of items that are one thing in two kinds, and where the true partner ranks among all of its kind."""
    data = split_of(options.job("DURation").load()).train
    a, b, pairs = known_pairs(options, data)
    runs = trained(options, {"with alignment": (), "without alignment": ("model.alpha=0",)})
    report = options.report("figure2")
    table = [["", "representation", "mean rank of the partner", "among the first 10 %", "mean rank by chance"]]
    ranks: dict[tuple[str, str], np.ndarray] = {}  # [seeds, pairs]
    chance = (data.kinds[b].count + 1) / 2
    for way, done in runs.items():
        for name in ("mapped", "vector"):
            of_seeds = [
                partner_ranks(items[f"{name}/{a}"], items[f"{name}/{b}"], pairs) for items in map(items_of, done)
            ]
            ranks[way, name] = np.stack(of_seeds)
            first = (ranks[way, name] <= 0.1 * data.kinds[b].count).mean()
            table.append([way, name, cell(ranks[way, name].mean(1)), f"{first:.3f}", f"{chance:,.1f}"])
    report.table(table)
    report.say(
        f"{len(pairs):,} pairs of {a} and {b}; rank of the partner among the {data.kinds[b].count:,} of {b} by cosine, "
        f"1 is the nearest. 'mapped' is f_p(columns), 'vector' the item tower's output; {options.described_models}."
    )
    items = items_of(runs["with alignment"][0])
    picture = report.folder / "figure2.png"
    _heatmap(items[f"mapped/{a}"], items[f"mapped/{b}"], pairs[:10], (a, b), picture)
    report.picture(picture, "cosine similarity of ten pairs")
    for name in ("mapped", "vector"):
        with_, without = (ranks[way, name] for way in ("with alignment", "without alignment"))
        for text, near, far in (
            (f"partners are nearer than chance ({name}, ranks", with_, np.full_like(with_, chance)),
            (f"alignment brings partners nearer ({name}, ranks", with_, without),
        ):
            test = compare(far.mean(1), near.mean(1), far.mean(0), near.mean(0))
            report.claim(f"{text}, t-test over seeds)", test.difference, test.p_seeds)
            report.claim_of_users(f"{text}; Wilcoxon over pairs, for the trained models alone)", test, ours=True)
    report.close([d for done in runs.values() for d in done])


def partner_ranks(left: np.ndarray, right: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """float[n]: for each pair, the place of the partner among all rows of ``right`` by cosine; ties share a place."""
    x, y = _unit(left[pairs[:, 0]]), _unit(right)
    similarity = x @ y.T
    own = similarity[np.arange(len(pairs)), pairs[:, 1]][:, None]
    return 1 + (similarity > own).sum(1) + ((similarity == own).sum(1) - 1) / 2


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _heatmap(left: np.ndarray, right: np.ndarray, pairs: np.ndarray, kinds: tuple[str, str], path: Path) -> None:
    similarity = _unit(left[pairs[:, 0]]) @ _unit(right[pairs[:, 1]]).T
    figure, axes = plt.subplots(figsize=(5, 4.2))
    drawn = axes.imshow(similarity.T, cmap="Blues")
    axes.set_xlabel(f"{kinds[0]} of the pair")
    axes.set_ylabel(f"{kinds[1]} of the pair")
    labels = [str(number) for number in range(1, len(pairs) + 1)]
    axes.set_xticks(range(len(pairs)), labels)
    axes.set_yticks(range(len(pairs)), labels)
    axes.set_title("cosine of f_p: true pairs on the diagonal")
    figure.colorbar(drawn)
    save(figure, path)


# -------------------------------------------------------------------------------------------- figure 3


def sampled(items: dict[str, np.ndarray], data: RecData, size: int = SAMPLE) -> dict[str, np.ndarray]:
    """f_p of at most ``size`` items of each kind with columns, the same items for every run."""
    return {kind: items[f"mapped/{kind}"][chosen] for kind, chosen in chosen_items(data, size).items()}


def chosen_items(data: RecData, size: int = SAMPLE) -> dict[str, np.ndarray]:
    """At most ``size`` items, counted within their kind, of each kind with columns. Raises ConfigError without any."""
    described = {kind: table for kind, table in data.kinds.items() if table.columns}
    if not described:
        raise ConfigError(f"no kind of '{data.name}' has columns, so there is no f_p to look at")
    return {kind: np.random.default_rng(0).permutation(table.count)[:size] for kind, table in described.items()}


def figure3(options: Options) -> None:
    """Items of all kinds in the unified space, with and without alignment: t-SNE, and how mixed they are."""
    data = split_of(options.job("DURation").load()).train
    chosen_items(data)  # refuses data without columns before anything is trained
    runs = trained(options, {"without alignment": ("model.alpha=0",), "with alignment": ()})
    report = options.report("figure3")
    table = [["", "MMD between kinds", "accuracy of telling kinds apart", "accuracy by chance"]]
    measured: dict[str, dict[str, np.ndarray]] = {}
    for way, done in runs.items():
        samples = [sampled(items_of(d), data) for d in done]
        mixed = {
            "mmd": np.array([mean_mmd(s) for s in samples]),
            "accuracy": np.array([separability(s) for s in samples]),
        }
        measured[way] = mixed
        largest = max(len(rows) for rows in samples[0].values()) / sum(len(rows) for rows in samples[0].values())
        table.append([way, cell(mixed["mmd"]), cell(mixed["accuracy"]), f"{largest:.4f}"])
    report.table(table)
    report.say(
        "On f_p(columns), standardised together. MMD: maximum mean discrepancy, RBF kernel with the mean squared "
        "distance for width, mean over pairs of kinds. Accuracy: logistic regression, five folds. "
        f"At most {SAMPLE:,} items of each kind; {options.described_models}."
    )
    picture = report.folder / "figure3.png"
    _tsne({way: sampled(items_of(done[0]), data, size=400) for way, done in runs.items()}, picture)
    report.picture(picture, "t-SNE of f_p, without and with alignment")
    for key, text in (
        ("mmd", "alignment brings the kinds together (MMD)"),
        ("accuracy", "alignment makes kinds harder to tell apart (accuracy)"),
    ):
        test = compare(measured["without alignment"][key], measured["with alignment"][key])
        report.claim(text, test.difference, test.p_seeds)
    report.close([d for done in runs.values() for d in done])


def mean_mmd(samples: dict[str, np.ndarray]) -> float:
    """Mean over pairs of kinds of their MMD; MMD^2 is four times the distributional variance of two samples (Eq. 2)."""
    rows = StandardScaler().fit_transform(np.concatenate(list(samples.values())))
    parts = np.split(rows, np.cumsum([len(s) for s in samples.values()])[:-1])
    out = []
    for i, one in enumerate(parts):
        for other in parts[i + 1 :]:
            variance = alignment([torch.from_numpy(one), torch.from_numpy(other)]).item()
            out.append(np.sqrt(max(4 * variance, 0.0)))
    return float(np.mean(out))


def separability(samples: dict[str, np.ndarray]) -> float:
    """Accuracy of a linear classifier of kinds, mean of five folds."""
    rows = StandardScaler().fit_transform(np.concatenate(list(samples.values())))
    kind = np.repeat(np.arange(len(samples)), [len(s) for s in samples.values()])
    return float(cross_val_score(LogisticRegression(max_iter=300), rows, kind, cv=5).mean())


def _tsne(ways: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    figure, all_axes = plt.subplots(1, len(ways), figsize=(5.2 * len(ways), 4.6))
    for axes, (way, samples) in zip(np.atleast_1d(all_axes), ways.items(), strict=True):
        rows = StandardScaler().fit_transform(np.concatenate(list(samples.values())))
        placed = TSNE(init="pca", random_state=0, perplexity=min(30, len(rows) // 4)).fit_transform(rows)
        parts = np.split(placed, np.cumsum([len(s) for s in samples.values()])[:-1])
        for index, (kind, part) in enumerate(zip(samples, parts, strict=True)):
            color = f"C{index}"
            axes.scatter(*part.T, s=4, color=color, alpha=0.5, label=kind)
            _contours(axes, part, color)
        axes.set_title(way)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.legend(markerscale=3)
    save(figure, path)


def _contours(axes: Any, points: np.ndarray, color: str) -> None:
    """Kernel density of the points at three levels, whole lines of them."""
    density = gaussian_kde(points.T)
    beyond = 3 * np.sqrt(np.diag(density.covariance))
    x, y = np.linspace(points.min(0) - beyond, points.max(0) + beyond, 80).T
    grid = np.stack(np.meshgrid(x, y))
    axes.contour(*grid, density(grid.reshape(2, -1)).reshape(80, 80), levels=3, colors=color, linewidths=0.8)
    axes.autoscale_view(tight=False)  # a contour leaves no margin


# -------------------------------------------------------------------------------------------- figure 4

CLUSTERS = (5, 10, 20, 40)


def figure4(options: Options) -> None:
    """How well clusters of f_p(columns) agree with clusters of the raw columns, with and without topology loss."""
    data = split_of(options.job("DURation").load()).train
    truth = {kind: [_clusters(rows, k) for k in CLUSTERS] for kind, rows in raw_columns(data).items()}
    ways = {
        NO_TOPOLOGY: ("model.beta=0",),
        TOPOLOGY: (),
        RELATIVE: ("model.relative_topology=true", "model.beta=1"),
    }
    runs = trained(options, ways)
    report = options.report("figure4")
    f1 = {way: np.array([agreement(truth, sampled(items_of(d), data)) for d in done]) for way, done in runs.items()}
    table = [["macro pairwise F1", *(f"{k} clusters" for k in CLUSTERS)]]
    table += [[way, *(cell(values[:, i]) for i in range(len(CLUSTERS)))] for way, values in f1.items()]
    by_chance = agreement(truth, shuffled(sampled(items_of(runs[NO_TOPOLOGY][0]), data)))
    table.append(["by chance", *(f"{value:.4f}" for value in by_chance)])
    report.table(table)
    report.say(
        "K-means on the raw columns (categories as random vectors, never trained, one draw for all rows of the table) "
        "and on f_p(columns) of the same items; F1 of 'in one cluster' and of 'in two', "
        f"mean of both, mean over the kinds. At most {SAMPLE:,} items of each kind; {options.described_seeds}. "
        "By chance: the items of f_p(columns) in another order."
    )
    picture = report.folder / "figure4.png"
    _lines(f1, picture)
    report.picture(picture, "agreement of clusters over their number")
    for claim in CLAIMS["figure4"]:
        test = compare(f1[claim.better].mean(1), f1[claim.worse].mean(1))
        report.claim(str(claim), test.difference, test.p_seeds, claim.ours)
    report.close([d for done in runs.values() for d in done])


def raw_columns(data: RecData) -> dict[str, np.ndarray]:
    """The columns of the chosen items of each kind as numbers, categories as vectors drawn from N(0, 1) and never
    trained: what the paper maps, and the same for every model that is compared."""
    torch.manual_seed(0)
    width = DURation.Config().token_emb_size
    with torch.no_grad():
        return {
            kind: Fields(data.kinds[kind], width, 1.0).eval()(torch.from_numpy(chosen)).numpy()
            for kind, chosen in chosen_items(data).items()
        }


def agreement(truth: dict[str, list[np.ndarray]], mapped: dict[str, np.ndarray]) -> list[float]:
    """For each of CLUSTERS the macro pairwise F1 of the clusters of mapped rows against ``truth``, the clusters of the
    raw ones; mean over the kinds."""
    return [
        float(np.mean([pairwise_f1(truth[kind][i], _clusters(rows, k)) for kind, rows in mapped.items()]))
        for i, k in enumerate(CLUSTERS)
    ]


def shuffled(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The rows of each kind in another order, so that they are those of no item any more."""
    return {kind: np.random.default_rng(0).permutation(values) for kind, values in rows.items()}


def pairwise_f1(truth: np.ndarray, found: np.ndarray) -> float:
    """Mean of the F1 of pairs in one cluster and of pairs in two clusters."""
    (apart, wrong_together), (wrong_apart, together) = pair_confusion_matrix(truth, found)
    both = [(together, wrong_together, wrong_apart), (apart, wrong_apart, wrong_together)]
    return float(np.mean([2 * right / max(2 * right + a + b, 1) for right, a, b in both]))


def _clusters(rows: np.ndarray, clusters: int) -> np.ndarray:
    scaled = StandardScaler().fit_transform(rows)
    return KMeans(min(clusters, len(rows)), n_init=3, random_state=0).fit_predict(scaled)


def _lines(f1: dict[str, np.ndarray], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(5.5, 4))
    for way, values in f1.items():
        deviation = values.std(0, ddof=1) if len(values) > 1 else None
        axes.errorbar(CLUSTERS, values.mean(0), yerr=deviation, marker="x", capsize=3, label=way)
    axes.set_xlabel("clusters")
    axes.set_ylabel("macro pairwise F1")
    axes.legend()
    save(figure, path)
