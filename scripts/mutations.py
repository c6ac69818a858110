"""The mutations of ``mutate.py``: a file, a text that it holds once, what replaces it, and tests."""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """tests: words for pytest, which should fail once ``old`` has become ``new``."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def shown(self) -> str:
        return f"{self.old.strip()!r} -> {self.new.strip()!r}"


def _of(file: str, tests: str, *changes: tuple[str, str]) -> list[Mutation]:
    return [Mutation(file, old, new, tuple(shlex.split(tests))) for old, new in changes]


MUTATIONS: list[Mutation] = [
    *_of(
        "hrec/models/losses.py",
        "tests/models/test_losses.py",
        ("F.softplus(ahead.squeeze(1)", "F.softplus(-ahead.squeeze(1)"),
        ("ahead.amax(1)", "ahead.mean(1)"),
        ("enabled=False", "enabled=True"),
        ("trace / kinds - total", "trace - total"),
        ("total / kinds**2", "total / kinds"),
        ("inverse_width = gamma", "inverse_width = gamma / 2"),
        ("square.mean() - x.mean(0).square().sum())).detach()", "square.mean() - x.mean(0).square().sum()))"),
        ("repeat_interleave(1 / sizes.to(x.dtype), sizes)", "repeat_interleave(1 / sizes.to(x.dtype) ** 2, sizes)"),
        ("max(x.shape[1] - 1, 1) ** 0.5", "x.shape[1] ** 0.5"),
        ("x - x.mean(1, keepdim=True)", "x - x.mean(0, keepdim=True)"),
        ("of_raw - 2 * (a.T @ b)", "of_raw - (a.T @ b)"),
        ("squared / (4 * len(raw))", "squared / (2 * len(raw))"),
        ("whole = of_raw.detach()", "whole = of_raw"),
        ("* (target - score).square()", "* (target - score).abs()"),
        ("(b + (a - b) * target) * (target", "(a + (b - a) * target) * (target"),
        ("(b + (a - b) * target) * cost", "a * cost"),
        ("- b * of_ones.square()", "+ b * of_ones.square()"),
        ("return b * ((u.T @ u) * (v.T @ v)).sum()", "return b * ((u.T @ u) + (v.T @ v)).sum()"),
    ),
    *_of(
        "hrec/models/hetero/duration.py",
        "tests/models/test_layers.py -k 'duration or topology or aligned'",
        ("for kind in shaped]", "for kind in shaped[:1]]"),
        ("[mapped[k][:n] for k in described]", "[raw[k][:n] for k in described]"),
        ("topology(raw[kind].detach(), mapped", "topology(raw[kind], mapped"),
        ("rows / rows.max()", "rows / rows.sum()"),
    ),
    *_of(
        "hrec/pipeline/metrics.py",
        "tests/pipeline/test_metrics.py",
        ("below[tie] - below[first][of_tie]) + n)", "below[tie] - below[first][of_tie]) + 2 * n)"),
        ("(below[tie] - below[first][of_tie])", "below[tie]"),
        ("np.average(value[both], weights=rows[both])", "np.average(value[both])"),
        ("both = ~np.isnan(value)", "both = value >= 0.5"),
        ("np.lexsort((score, user))", "np.lexsort((-score, user))"),
        ("(1 - 2 * label.astype(np.float64)) * score", "(2 * label.astype(np.float64) - 1) * score"),
        ("np.sqrt(_mean(_error(score, label) ** 2))", "_mean(_error(score, label) ** 2)"),
        ('"logloss": Metric(logloss, "min")', '"logloss": Metric(logloss, "max")'),
        (
            "out[name] = _mean(np.array([v for v in values if not np.isnan(v)]))",
            "out[name] = metric(score, label, user)",
        ),
        ('out[f"{name}/pooled"] = metric(score, label, user)', 'out[f"{name}/pooled"] = _mean(np.array(values))'),
        ("where=pairs > 0", "where=pairs >= 0"),
    ),
    *_of(
        "hrec/pipeline/ranking_metrics.py",
        "tests/pipeline/test_ranking_metrics.py",
        (
            '(DualNet paper, section 5.1)."""\n    return hit.sum(1) / relevant',
            '."""\n    return hit.sum(1) / hit.shape[1]',
        ),
        ("hit.sum(1) / max(hit.shape[1], 1)", "hit.sum(1) / relevant"),
        ("np.arange(hit.shape[1]) + 2)", "np.arange(hit.shape[1]) + 1.5)"),
        ("np.minimum(relevant, hit.shape[1])", "np.maximum(hit.sum(1), 1)"),
        ("1 / (hit.argmax(1) + 1)", "1 / (hit.argmax(1) + 2)"),
        ("np.cumsum(hit, 1) * hit", "np.cumsum(hit, 1)"),
        ("+ 1)).sum(1) / relevant", "+ 1)).sum(1) / np.minimum(relevant, hit.shape[1])"),
        ("np.where(lists.relevant > 0, value, np.nan)", "np.where(lists.relevant > 0, value, 0.0)"),
        ("2 * place - candidates - 1", "2 * place - candidates"),
        ('"gini": (gini, "min")', '"gini": (gini, "max")'),
    ),
    *_of(
        "hrec/pipeline/ranking.py",
        "tests/pipeline/test_topn.py",
        ("if self.settings.mask_valid and part is not self.parts.valid", "if part is not self.parts.valid"),
        ("rows = [self.parts.train.interactions]", "rows = [self.parts.train.interactions.take(slice(0, 0))]"),
        ("rows <= self.settings.cold_rows", "rows < self.settings.cold_rows"),
        ("np.argsort(-self.popularity", "np.argsort(self.popularity"),
        ("of_all.take(of_all.relevant > 0)", "of_all"),
        ("[self.allowed(part)[x.item] & _positive(part)]", "[self.allowed(part)[x.item]]"),
    ),
    *_of(
        "hrec/datasets/splitting.py",
        "tests/datasets/test_splitting.py",
        ("np.floor(count *", "np.ceil(count *"),
        ("position >= train[group]", "position > train[group]"),
        ("valid += (valid == 0) &", "valid += 0 * (valid == 0) &"),
        ("from_the_end == 0, from_the_end == 1", "from_the_end == 1, from_the_end == 0"),
        ("from_the_end = size[user] - 1 - position", "from_the_end = position"),
        ("position >= settings.max_train", "position > settings.max_train"),
        ("cut(kind, rng.permutation(len(item))", "cut(np.zeros_like(kind), rng.permutation(len(item))"),
        ("known = np.bincount(item[part == TRAIN]", "known = np.bincount(item[part != TEST]"),
        ("return cut(_users(data, settings.per_kind), rng.", "return cut(_one_group(data), rng."),
        (
            "of_known, of_new = drawn_from(known), drawn_from(~known)",
            "of_known, of_new = drawn_from(known), drawn_from(known)",
        ),
        ("position >= np.ceil(size * shares", "position >= np.floor(size * shares"),
    ),
    *_of(
        "hrec/experiments/significance.py",
        "tests/experiments/test_significance.py",
        ("stats.ttest_rel(x, y)", "stats.ttest_ind(x, y)"),
        ("stats.wilcoxon(difference).pvalue", "stats.ranksums(a, b).pvalue"),
        ("(len(known) - place) * value", "len(known) * value"),
        ("max(running, min(1.0", "max(0.0, min(1.0"),
        ("sorted((value, name)", "sorted((-value, name)"),
        ("if np.isfinite(value))", "if True)"),
        ("np.isfinite(p) and p < level", "p > level"),
        ("difference > 0 else", "difference >= -1 else"),
        ("* np.sign(moved)", "* 1.0"),
    ),
    *_of(
        "hrec/experiments/runs.py",
        "tests/test_selection.py",
        ('self.result["valid"][name]', 'self.result["test"][name]'),
        ("else -np.inf for value", "else np.inf for value"),
        ("trials[max(range(len(trials))", "trials[min(range(len(trials))"),
    ),
    *_of(
        "hrec/pipeline/early_stopping.py",
        "tests/pipeline/test_early_stopping.py",
        ('value > best if self.mode == "max" else value < best', "value > best"),
        ("value > best if", "value >= best if"),
        ("self.waited >= self.patience", "self.waited > self.patience"),
        ("self.best, self.waited = value, 0", "self.best = value"),
    ),
    *_of(
        "hrec/pipeline/stage_run.py",
        "tests/pipeline/test_trainer.py tests/test_selection.py",
        ("self.context.checkpoints.load_best(self.model)", "pass"),
        ("if improved and self.context.checkpoints", "if self.context.checkpoints"),
        ("value = measured[self.watched]", "value = next(iter(measured.values()))"),
        ("epoch % settings.eval_step == 0 or epoch == self.epochs", "epoch % settings.eval_step == 0"),
    ),
    *_of(
        "hrec/pipeline/run.py",
        "tests/test_selection.py",
        ("lambda m: evaluator.measure(m, parts.valid)", "lambda m: evaluator.measure(m, parts.test)"),
        ('"valid": evaluator.measure(model, parts.valid)', '"valid": evaluator.measure(model, parts.test)'),
    ),
    *_of(
        "hrec/pipeline/records.py",
        "tests/test_selection.py",
        ("return best[-1] if best else None", "return best[0] if best else None"),
    ),
    *_of(
        "hrec/tuning/trial.py",
        "tests/tuning/test_sweep.py -k leaves_a_report",
        ("value = evaluator.measure(model, parts.valid)", "value = evaluator.measure(model, parts.test)"),
        ("lambda m: evaluator.measure(m, parts.valid)", "lambda m: evaluator.measure(m, parts.test)"),
    ),
]
