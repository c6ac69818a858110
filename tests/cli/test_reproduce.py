"""scripts/reproduce.py: statistics with hand-worked answers, and whole experiments on tiny planted data."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hrec.cli import reproduce
from hrec.config import ConfigError
from hrec.datasets.recdata import Interactions, Split, Table, TrainData
from hrec.experiments import runs
from hrec.experiments import significance as statistics
from hrec.experiments.options import CommonOptions
from hrec.experiments.reports import Report
from hrec.papers.dualnet import runs as dualnet_runs
from hrec.papers.dualnet import tables as dualnet
from hrec.papers.dualnet import tactics as dualnet_tactics
from hrec.papers.dualnet.paper import DUALNET
from hrec.papers.duration import figures
from hrec.papers.duration import runs as duration_runs
from hrec.papers.duration import table3 as duration_table3
from hrec.papers.duration import tables as duration
from hrec.papers.duration.paper import DURATION
from hrec.papers.paper import Experiment, Order
from hrec.papers.table import PAPERS
from hrec.pipeline.checkpoints import CheckpointError
from hrec.pipeline.stage_run import Interrupted

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("HREC_SHARED", ROOT.parent / "shared"))


def test_claims_that_the_paper_does_not_make_stand_and_are_corrected_apart(tmp_path: Path, capsys):
    report = Report(tmp_path)
    report.claim("theirs", 0.1, 0.02)
    up = statistics.compare([1.0], [0.0], np.arange(20.0) + 1, np.arange(20.0))
    report.claim_of_users("ours", up, ours=True)
    report.close()
    text = (tmp_path / "report.md").read_text()
    assert "Claims of the paper:\n\n- holds: theirs (difference +0.1000, p = 0.02)" in text
    assert "Other claims:\n\n- holds: ours (difference +1.0000, p = " in text


@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_names_experiments_that_it_has_and_rows_that_it_can_run(name: str):
    paper = PAPERS[name]
    assert paper.name == name and "planted" in paper.data
    named = {*paper.published, *paper.claims, *(e for rows in paper.rows for e in rows.experiments)}
    assert named <= set(paper.experiments)
    assert all(experiment.about for experiment in paper.experiments.values())
    (models,) = (rows for rows in paper.rows if rows.name == "models")
    assert set(paper.trials) <= set(models.choices)


def test_a_claim_of_table_1_has_the_order_that_the_paper_printed():
    assert dualnet._as_printed("CiteULike2", Order("CDL", "WMF"), 0) == Order("WMF", "CDL")
    assert dualnet._as_printed("CiteULike2", Order("CDL", "WMF"), 2) == Order("CDL", "WMF")
    assert dualnet._as_printed("another split", Order("CDL", "WMF"), 0) == Order("CDL", "WMF")


def test_the_rank_of_a_partner_counts_those_that_are_nearer():
    right = np.array([[1.0, 0], [1, 1], [0, 1], [0, 2]])
    left = np.array([[1.0, 0.1], [0, 5]])
    pairs = np.array([[0, 0], [0, 1], [1, 2]])
    np.testing.assert_allclose(figures.partner_ranks(left, right, pairs), [1, 2, 1.5])  # 2 and 3 are one direction


def test_pairwise_f1_of_equal_clusters_is_one_and_of_others_by_hand():
    assert figures.pairwise_f1(np.array([0, 0, 1, 1]), np.array([5, 5, 3, 3])) == 1
    # of 6 pairs: truth has (01) and (23) together, found has (01), (02), (12) together
    got = figures.pairwise_f1(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]))
    together, apart = 2 * 1 / (2 + 2 + 1), 2 * 2 / (4 + 1 + 2)
    assert got == pytest.approx((together + apart) / 2)


def test_models_of_columns_are_run_for_all_kinds_and_for_each():
    rows = duration_table3.rows_of(["DMF", "FM"], ["book", "film"])
    assert [(r.model, r.setting, r.kind) for r in rows] == [
        ("DMF", "He", None),
        ("FM", "He", None),
        ("FM", "Ho", "book"),
        ("FM", "Ho", "film"),
    ]


def test_a_user_beside_models_of_one_kind_is_measured_within_each_kind(monkeypatch):
    """Two kinds; user 0 has both labels in both, user 1 in films alone, user 2 in none."""
    kind = np.array([0, 0, 1, 1, 1, 1, 0], np.int16)
    user = np.array([0, 0, 0, 0, 1, 1, 2], np.int32)
    x = Interactions(user, np.arange(7, dtype=np.int32), kind, np.array([1, 0, 1, 0, 1, 0, 1], np.float32))
    tables = {"book": Table(7), "film": Table(7, 7)}
    whole = TrainData(Table(3), tables, x)
    parts = {
        "all": whole,
        "book": TrainData(Table(3), {"book": Table(7)}, x.take(kind == 0)),
        "film": TrainData(Table(3), {"film": Table(7)}, x.take(kind == 1)),
    }
    scores = {
        "all": np.array([0.1, 0.2, 5.0, 4.0, 3.0, 3.0, 0.0]),  # across kinds user 0 would have 2 of 4 pairs right
        "book": np.array([2.0, 1.0, 0.0]),
        "film": np.array([1.0, 2.0, 1.0, 2.0]),
    }

    class Run:
        def __init__(self, of: str) -> None:
            self.folder = Path(of)

        def test_scores(self) -> np.ndarray:
            return scores[str(self.folder)]

    monkeypatch.setattr(duration_runs.Job, "load", lambda job: str(Path(job.config).parent))
    monkeypatch.setattr(duration_runs, "split_of", lambda name: Split(whole, whole, parts[name]))
    done = {
        duration_runs.Row("DURation", "He"): [Run("all")],
        duration_runs.Row("LR", "Ho", "book"): [Run("book")],
        duration_runs.Row("LR", "Ho", "film"): [Run("film")],
    }
    kinds = ["book", "film"]
    he = duration_table3.auc_by_setting(done, kinds, "He")
    ho = duration_table3.auc_by_setting(done, kinds, "Ho")
    np.testing.assert_array_equal(he["DURation"], [0.5, 0.5, np.nan])
    np.testing.assert_array_equal(ho["DURation"], [0.5, 0.5, np.nan])  # books wrong, films right; a tie
    np.testing.assert_array_equal(ho["LR"], [0.5, 0.0, np.nan])
    assert set(he) == {"DURation"}


def test_the_papers_figures_are_a_table_of_their_own():
    heading, dmf, deepfm = duration_table3.paper_rows([("DMF", "He"), ("LR", "He"), ("DeepFM", "Ho")])
    assert heading == ["the paper's", "setting", "book", "music", "film", "all"]
    assert dmf == ["DMF", "He", "0.588", "0.631", "0.656", "0.647"]
    assert deepfm == ["DeepFM", "Ho", "0.737", "0.782", "0.777", "/"]  # LR is not in the paper


def _paper(number: str) -> list[str]:
    found = sorted((SHARED / "papers").glob(f"{number}_*.txt"))
    if not found:
        pytest.skip(f"the paper's text is not here: {SHARED / 'papers'}")
    return found[0].read_text(encoding="utf-8").splitlines()


def test_figures_of_the_duration_paper_are_those_of_its_text():
    lines = [line.split() for line in _paper("000")]
    for index, kind in enumerate(("Book", "Music", "Movie", "All")):
        printed = next(
            line for line in lines if line[:1] == [kind] and len(line) == 1 + len(DURATION.published["table3"])
        )
        shown = [row[index] for row in DURATION.published["table3"].values()]
        assert [None if cell == "/" else float(cell) for cell in printed[1:]] == shown, kind


def test_figures_of_the_dualnet_paper_are_those_of_its_text():
    lines = [re.sub(r"(?<=\d) ?%", "", line).split("\t") for line in _paper("004")]
    for model in ("WMF", "CDL", "DualNet"):
        printed = next(line for line in lines if line[0] == model)
        shown = [DUALNET.published["table1"][f"CiteULike{n}", model] for n in (1, 2)]
        assert [float(cell) for cell in printed[1:]] == [*shown[0], *shown[1]]
    noisy = "in-matrix *Recall@300* from 67.3% to 71.2%, and out-matrix *Recall@50* from 38.6% to 47.5%"
    assert any(noisy in line for line in _paper("004"))
    of_noise = [
        DUALNET.published["noise"][part, how] for part in ("in-matrix", "out-matrix") for how in ("without", "with")
    ]
    assert of_noise == [(None, 67.3), (None, 71.2), (38.6, None), (47.5, None)]
    for name, shown in (DUALNET.published["table2"] | DUALNET.published["table3"]).items():
        heads = (name, name.replace("_", "-"), "multi-level branching" if name == "branching" else name)
        rows = [[float(cell) for cell in line[1:]] for line in lines if line[0] in heads and len(line) == 4]
        assert list(shown) in rows, name


def test_a_table_of_single_kinds_alone_has_no_figure_over_all():
    values = {("LR", "Ho"): {c: np.array([0.5]) for c in ("book", "macro")}}
    heading, lr = duration_table3.table3_rows(values, ["book"])
    assert dict(zip(heading, lr, strict=True))["all"] == "/"


def test_a_report_of_another_command_is_kept_beside_the_new_one(tmp_path, monkeypatch, capsys):
    for words in (["--seeds", "3"], ["--seeds", "3", "--jobs", "2", "--out=o"], ["--seeds", "1"]):
        monkeypatch.setattr(sys, "argv", ["reproduce.py", *words])
        report = CommonOptions("tiny", tmp_path).report("table9")
        report.table([["a"], [words[1]]])
        report.dots({"a": {"b": [float(words[1])]}}, "c")
        report.close()
    folder = tmp_path / "table9-tiny"
    assert {p.name for p in folder.iterdir()} == {"report.md", "table.csv", "table.png", "earlier-1"}
    assert (folder / "table.csv").read_text() == "a\n1\n"
    assert {p.name for p in (folder / "earlier-1").iterdir()} == {"report.md", "table.csv", "table.png"}
    assert (folder / "earlier-1" / "table.csv").read_text() == "a\n3\n"
    assert "earlier-1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("result.json", "{"),
        ("test_scores.npy", None),
        ("test_scores.npy", "x"),
        ("config.json", None),
        ("config.json", "{"),
        ("items.npz", "PK"),
    ],
)
def test_a_damaged_file_of_a_finished_run_is_named_with_what_to_do(tmp_path, name, content):
    job = runs.Job("lr", ("data=planted-tiny", "opt.epochs=1"))
    runs.run_all([job], tmp_path)
    (folder,) = job.folder(tmp_path).glob("*/")
    (folder / name).unlink() if content is None else (folder / name).write_text(content)
    with pytest.raises(CheckpointError) as shown:
        done = runs.finished(job, tmp_path)
        done.test_scores()
        figures.items_of(done)
    assert f"{folder / name}: " in str(shown.value) and f"Remove {folder} to run it again" in str(shown.value)


def test_what_is_shuffled_agrees_by_chance_alone():
    rng = np.random.default_rng(1)
    rows = {"book": np.concatenate([rng.normal(size=(60, 2)), rng.normal(size=(60, 2)) + 9])}
    truth = {"book": [np.repeat([0, 1], 60)] * len(figures.CLUSTERS)}
    assert figures.agreement(truth, rows)[0] > figures.agreement(truth, figures.shuffled(rows))[0] + 0.1
    assert sorted(map(tuple, figures.shuffled(rows)["book"])) == sorted(map(tuple, rows["book"]))


@pytest.mark.slow
def test_an_experiment_writes_its_report_and_runs_nothing_twice(tmp_path):
    line = [
        sys.executable,
        "scripts/reproduce.py",
        "duration",
        "table3",
        "--data",
        "tiny",
        "--seeds",
        "2",
        "--trials",
        "1",
    ]
    line += ["--models", "DMF", "LR", "DURation", "--out", str(tmp_path)]
    first = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    report = (tmp_path / "table3-tiny" / "report.md").read_text()
    assert "| DURation | He |" in report and "| LR | Ho |" in report and "DURation above the best He baseline" in report
    (ho,) = [line.split("|") for line in report.splitlines() if line.startswith("| LR Ho |")]
    assert "-" not in [cell.strip() for cell in ho]  # tested over users too
    assert (tmp_path / "table3-tiny" / "table-1.csv").exists()
    assert (tmp_path / "table3-tiny" / "table.png").stat().st_size > 5_000
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("result.json")}
    assert len(stamps) == 2 * (3 + 3)
    # of a finished run the weights that were tested stay, not the state to go on from
    assert len(list(tmp_path.rglob("best.safetensors"))) == len(stamps) and not list(tmp_path.rglob("last.pt"))
    again = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0 and " to do" not in again.stdout
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("result.json")} == stamps


@pytest.mark.slow
def test_dualnet_table_1_tunes_each_model_and_tests_over_users(tmp_path: Path):
    options = dualnet_runs.Options("tiny", tmp_path, seeds=2, trials=2, models=("WMF", "DualNet"))
    dualnet.table1(options)
    report = (tmp_path / "dualnet-table1-tiny" / "report.md").read_text()
    assert "| in-matrix | WMF |" in report and "DualNet above WMF" in report and "CDL" not in report
    # of each model's two trials with seed 0 the better has seed 1 too
    assert len(list(tmp_path.rglob("result.json"))) == 3 + 3
    done = [runs.Done(p.parent, json.loads(p.read_text())) for p in tmp_path.rglob("result.json")]
    for run in done:
        users = run.test_users()["recall@5"]
        assert np.nanmean(users) == pytest.approx(run.result["test"]["recall@5"])


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (
            ["dualnet", "table2", "--models", "WMF"],
            "--models: table2 ranks new items by their content alone, so it has no row of WMF",
        ),
        (["dualnet", "table3", "--models", "DualNet"], "--models: table3 is about one model alone"),
        (["duration", "table3", "--models", "FM", "LR", "FM"], "--models: FM is there twice"),
        (["duration", "figure2", "--models", "DMF"], "--models: figure2 is about one model alone"),
        (["duration", "table3", "--trials", "9"], "--trials: table3 has 6 to try"),
        (["dualnet", "table1", "--trials", "3"], "--trials: table1 has 2 to try"),
        (["duration", "table5", "--settings", "He"], "--settings: table5 is about one setting alone"),
    ],
)
def test_what_an_experiment_cannot_do_is_refused(words, problem, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["reproduce.py", *words, "--data", "tiny"])
    assert reproduce.main() == 2
    assert problem in capsys.readouterr().err


def test_out_matrix_ranks_new_items_and_every_model_can_be_asked_for(tmp_path: Path):
    options = dualnet_runs.Options("tiny", tmp_path)
    for model, trials in {name: dualnet_runs.TRIALS.get(name, [()]) for name in dualnet_runs.CONFIGS}.items():
        for trial in trials:
            settings = options.job(model, ("recall@50", "recall@100"), *options.source.out_matrix, *trial).load().run
            assert settings.ranking.items == "new_of_part" and settings.data.split.by == "cold_items"
            assert settings.opt.early_stop is None or settings.opt.early_stop.metric == "recall@100"


def test_runs_on_files_that_have_changed_since_are_refused(tmp_path: Path, monkeypatch):
    """The settings are the same, the labels are not: neither the old result nor its scores belong to the new data."""
    monkeypatch.setattr(runs, "_digests", {})
    monkeypatch.setattr(runs, "_kept", {})
    rng, folder = np.random.default_rng(0), tmp_path / "data"
    folder.mkdir()
    (folder / "items.csv").write_text("item_id\n" + "".join(f"i{i}\n" for i in range(8)))

    def write(flip: bool) -> None:
        rows = [f"u{u},i{i},{int(label) ^ flip}\n" for u in range(9) for i, label in enumerate(rng.random(8) < 0.5)]
        (folder / "rows.csv").write_text("user_id,item_id,label\n" + "".join(rows))
        runs._digests.clear()
        runs._kept.clear()

    settings = {
        "name": "mine",
        "inter_feat_path": str(folder / "rows.csv"),
        "item_feat_path": {"thing": str(folder / "items.csv")},
    }
    job = runs.Job("popularity", (f"data={json.dumps(settings)}", 'metrics=["recall@2"]'))
    write(flip=False)
    (first,) = runs.run_all([job], tmp_path / "out")
    assert runs.run_all([job], tmp_path / "out") == [first]
    write(flip=True)
    with pytest.raises(CheckpointError, match="was trained on other rows; the data files have changed"):
        runs.run_all([job], tmp_path / "out")


def test_a_trial_that_diverges_is_not_chosen_and_not_run_again(tmp_path: Path, capsys):
    tiny = ("data=planted-tiny", "opt.epochs=1")
    good, bad = (runs.Job("deepmf", (*tiny, f"opt.hyper_params.lr={lr}")) for lr in (0.001, 1e30))
    done = runs.try_all([bad, good], tmp_path)
    assert "1/2  diverged, " in capsys.readouterr().out
    assert "became" in str(done[0].diverged) and done[1].diverged is None
    assert runs.best_of(["bad", "good"], done, ["auc"]) == "good"
    assert [one.diverged for one in runs.try_all([bad, good], tmp_path)] == [one.diverged for one in done]
    assert capsys.readouterr().out == ""  # nothing was left to do
    with pytest.raises(ConfigError, match="every setting that was tried diverged"):
        runs.best_of(["bad"], done[:1], ["auc"])
    with pytest.raises(ConfigError, match=r"lr=1e\+30 seed 0: (.|\n)*leave the model out"):
        runs.run_all([bad], tmp_path)
    note = bad.folder(tmp_path) / runs.DIVERGED
    kept = json.loads(note.read_text())
    note.write_text(json.dumps(kept | {"data": kept["data"] | {"digest": "another"}}))
    with pytest.raises(CheckpointError, match="was trained on other rows"):
        runs.try_all([bad], tmp_path)
    note.write_text(json.dumps(kept))
    (done[1].folder / "data.json").unlink()
    with pytest.raises(CheckpointError, match=r"data\.json: is missing"):
        runs.try_all([good], tmp_path)


def test_ctrl_c_ends_an_experiment_with_a_sentence(monkeypatch, capsys):
    def stopped(options):
        raise Interrupted("some/folder")

    monkeypatch.setitem(DURATION.experiments, "table2", Experiment(stopped))
    monkeypatch.setattr(sys, "argv", ["reproduce.py", "duration", "table2", "--data", "tiny"])
    assert reproduce.main() == 130
    assert capsys.readouterr().err == "stopped; the same command goes on\n"


def test_claims_are_corrected_for_their_number(tmp_path: Path, capsys):
    report = Report(tmp_path)
    for shown, difference, p in (("first", 0.1, 0.02), ("second", -0.2, 0.04), ("third", 0.3, float("nan"))):
        report.claim(shown, difference, p)
    report.close()
    lines = (tmp_path / "report.md").read_text().splitlines()
    assert "Claims of the paper, p after Holm's correction over these 2 tests:" in lines
    assert "- holds: first (difference +0.1000, p = 0.04)" in lines
    assert "- does not hold: second (difference -0.2000, p = 0.04)" in lines
    assert "- not decided: third (difference +0.3000, no test possible)" in lines


def test_the_share_of_empty_blocks_counts_the_blocks_that_are_walked():
    user, item = (np.array(a, np.int32) for a in ([0, 1], [0, 4]))  # two users and two items have a like
    data = TrainData(Table(4), {"book": Table(5)}, Interactions(user, item, np.zeros(2, np.int16)))
    assert dualnet_tactics.empty_share(data, 1) == 0.5 and dualnet_tactics.empty_share(data, 2) == 0.0


# ------------------------------------------------------------------------------------------- figures


def clustered(seed: int) -> np.ndarray:
    """A hundred items in five clear clusters, whose centres are the same for every seed."""
    centre = np.random.default_rng(0).normal(size=(5, 8)) * 20
    return np.repeat(centre, 20, axis=0) + np.random.default_rng(seed).normal(size=(100, 8))


BOOK, FILM = clustered(1), clustered(2)


def test_mmd_is_nought_for_one_sample_and_grows_with_the_distance():
    assert figures.mean_mmd({"book": BOOK, "film": BOOK}) == pytest.approx(0, abs=1e-6)
    near, far = (figures.mean_mmd({"book": BOOK, "film": FILM + by}) for by in (1.0, 30.0))
    assert near < 0.1 < far
    x, y = np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]])
    # by hand: standardised by the deviation of 0, 1, 2, 3 and gamma = 1 over the mean squared distance, which is 2.5

    def kernel(a, b):
        return np.exp(-((a - b.T) ** 2) / 2.5).mean()

    expected = np.sqrt(kernel(x, x) + kernel(y, y) - 2 * kernel(x, y))
    assert figures.mean_mmd({"book": x, "film": y}) == pytest.approx(expected, rel=1e-5)


def test_kinds_are_separable_only_where_they_differ():
    mixed = figures.separability({"book": BOOK, "film": FILM})
    apart = figures.separability({"book": BOOK, "film": FILM + 100})
    assert apart == 1.0 and 0.3 < mixed < 0.7


def test_agreement_is_one_for_the_same_clusters(monkeypatch):
    monkeypatch.setattr(figures, "CLUSTERS", (5,))
    truth = {"book": [figures._clusters(BOOK, 5)]}
    assert figures.agreement(truth, {"book": 3 * FILM}) == [1.0]
    (mixed,) = figures.agreement(truth, {"book": np.random.default_rng(1).normal(size=(100, 8))})
    assert mixed < 0.7


def test_raw_columns_are_those_of_the_data_whatever_was_trained():
    data = duration_runs.Options("tiny", Path()).job("DURation").load()
    train = runs.split_of(data).train
    torch.manual_seed(5)
    first = figures.raw_columns(train)
    torch.manual_seed(6)
    again = figures.raw_columns(train)
    assert first.keys() == train.kinds.keys()
    assert all(np.array_equal(first[kind], again[kind]) and len(first[kind]) <= figures.SAMPLE for kind in first)


def test_figures_are_refused_before_anything_is_trained_where_there_is_nothing_to_show(tmp_path, monkeypatch):
    bare = TrainData(Table(1), {"book": Table(3)}, Interactions(*(np.zeros(1, np.int32) for _ in range(3))))
    monkeypatch.setattr(figures, "split_of", lambda config: Split(bare, bare, bare))
    monkeypatch.setattr(figures, "trained", lambda *args: pytest.fail("trained"))
    options = duration_runs.Options("epinions", tmp_path)
    for figure, why in (
        (figures.figure2, "is in two kinds"),
        (figures.figure3, "no f_p"),
        (figures.figure4, "no f_p"),
    ):
        with pytest.raises(ConfigError, match=why):
            figure(options)


@pytest.mark.slow
def test_the_figures_and_the_other_tables_of_duration_are_drawn(tmp_path):
    options = duration_runs.Options("tiny", tmp_path, seeds=1, trials=1)
    for experiment in (duration.table2, duration.table5, figures.figure2, figures.figure3, figures.figure4):
        experiment(options)
    pictures = {"table2": "table", "table5": "table"} | {name: name for name in ("figure2", "figure3", "figure4")}
    for name, picture in pictures.items():
        assert (tmp_path / f"{name}-tiny" / f"{picture}.png").stat().st_size > 5_000
    report = (tmp_path / "table5-tiny" / "report.md").read_text()
    assert "alignment and topology help, cold start" in report and "| full data | DURation |" in report
    of_paper, other = report.split("Other claims")
    assert "topology helps with alignment, full data" in other and "helps with" not in of_paper.split("Claims of")[1]
    assert "| book |" in (tmp_path / "table2-tiny" / "report.md").read_text()


def test_models_of_columns_get_settings_that_others_do_not_have(tmp_path):
    options = duration_runs.Options("epinions-counts", tmp_path)
    assert "model.buckets=16" in options.job("DeepFM").overrides
    assert "model.buckets=16" not in options.job("NAIS").overrides
    for model in duration_runs.CONFIGS:
        options.job(model).load()
