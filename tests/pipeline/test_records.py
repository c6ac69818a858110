"""The run folder and what is written to it."""

from __future__ import annotations

import json
import math
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch

from hrec import __version__
from hrec.pipeline import curves, records
from hrec.pipeline.checkpoints import CheckpointError
from hrec.pipeline.curves import draw_curves
from hrec.pipeline.ranking import GROUPS, ranked_out_of
from hrec.pipeline.ranking_metrics import CATALOGUE_METRICS, USER_METRICS
from hrec.pipeline.records import RunFolder, commit, peak_memory_mb, provenance, version_of
from hrec.pipeline.reports import lists_table, metrics_table, table
from hrec.settings import RankingSettings


class Noon(datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 1, 31, 12, 0, 0)


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(tmp_path, show=False)


def row(stage: str, epoch: int, **more: object) -> dict[str, object]:
    return {"stage": stage, "epoch": epoch, "loss": 0.5, "seconds": 1.0} | more


# ------------------------------------------------------------------------------------------ the folder


def test_run_folders_made_in_the_same_second_have_names_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "datetime", Noon)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: RunFolder.create(tmp_path / "out", "DMF-tiny").path, range(24)))
    assert len(set(made)) == 24 and all(path.is_dir() for path in made)
    stem = "DMF-tiny-20240131-120000"
    assert {path.name for path in made} == {stem, *(f"{stem}-{n}" for n in range(2, 25))}


def test_a_folder_that_cannot_be_made_is_reported_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot be made \(.*\); set path.output"):
        RunFolder.create(tmp_path / "file", "DMF")


def test_what_is_said_goes_to_the_log_and_to_the_terminal_where_shown(folder, capsys):
    folder.say("quiet")
    folder.show = True
    folder.say("loud\ntwo lines")
    lines = (folder.path / "log.txt").read_text().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  quiet", lines[0])
    assert lines[1].endswith("  loud") and lines[2] == "two lines"
    assert capsys.readouterr().out == "loud\ntwo lines\n"


def test_a_log_that_cannot_be_written_is_reported_in_a_sentence(folder):
    (folder.path / "log.txt").mkdir()
    (folder.path / "log.jsonl").mkdir()
    with pytest.raises(CheckpointError, match=r"log\.txt: could not be written"):
        folder.say("x")
    with pytest.raises(CheckpointError, match=r"log\.jsonl: could not be written"):
        folder.epoch(row("train", 1))


def test_json_is_read_back_as_it_was_written(folder):
    content = {"name": "Zoë", "values": [1, 0.25, None, True]}
    folder.write_json("a.json", content)
    assert folder.read_json("a.json") == content and "Zoë" in (folder.path / "a.json").read_text(encoding="utf-8")


def test_an_epoch_is_a_row_of_the_log_and_a_line_with_its_main_numbers(folder, capsys):
    folder.show = True
    folder.start_epoch("train", 1, 3)
    folder.steps(5, {"loss": 0.7})
    folder.epoch(row("train", 1, lr=0.001, auc=0.71234, best=True) | {"auc/book": 0.6})
    out = capsys.readouterr()
    assert "train epoch   1" in out.out and "auc 0.7123" in out.out and "(best)" in out.out
    assert "auc/book" not in out.out and "lr" not in out.out
    assert "\r" not in out.out + out.err and out.err == ""
    assert folder.rows() == [row("train", 1, lr=0.001, auc=0.71234, best=True) | {"auc/book": 0.6}]


# ------------------------------------------------------------------------------------------------ rows


@pytest.mark.parametrize("kept", [0, 1, 10, 30])
def test_a_half_written_last_line_is_passed_over(folder, kept):
    for epoch in (1, 2):
        folder.epoch(row("train", epoch))
    whole = (folder.path / "log.jsonl").read_text()
    third = json.dumps(row("train", 3))
    assert kept < len(third)
    (folder.path / "log.jsonl").write_text(whole + third[:kept])
    assert folder.rows() == [row("train", 1), row("train", 2)]
    folder.forget_after(0, 2)
    assert (folder.path / "log.jsonl").read_text() == whole


@pytest.mark.parametrize("line", [b'{"stage": "train", "ep', b"5", b"\xff\xfe", b"{}"])
def test_a_damaged_line_in_the_middle_is_reported(folder, line: bytes):
    folder.epoch(row("train", 1))
    whole = (folder.path / "log.jsonl").read_bytes()
    (folder.path / "log.jsonl").write_bytes(whole + line + b"\n" + whole)
    with pytest.raises(CheckpointError, match=r"log.jsonl, line 2: holds .*, which is no epoch's row"):
        folder.rows()


def test_a_run_without_a_log_has_no_rows(folder):
    assert folder.rows() == []
    folder.forget_after(0, 0)
    assert folder.rows() == []


@pytest.mark.parametrize(
    ("stage", "epoch", "kept"),
    [(0, 0, 0), (0, 1, 1), (0, 3, 3), (1, 0, 3), (1, 1, 4), (2, 0, 5), (2, 7, 6), (3, 0, 6)],
)
def test_rows_after_the_point_that_a_run_goes_on_from_are_forgotten(folder, stage, epoch, kept):
    rows = [row("mf/book", e) for e in (1, 2, 3)] + [row("cat", 1), row("cat", 2)] + [row("art", 1)]
    for each in rows:
        folder.epoch(each)
    folder.forget_after(stage, epoch)
    assert folder.rows() == rows[:kept]


# ---------------------------------------------------------------------------------------------- tables


def test_a_table_is_aligned_left_in_its_first_column_and_right_in_the_others():
    assert table([["kind", "items"], ["book", "1,000"], ["film", "7"]]).split("\n") == [
        "kind  items",
        "-----------",
        "book  1,000",
        "film      7",
    ]


def test_the_table_of_metrics_has_a_row_for_each_kind_the_mean_and_the_pooled():
    results = {
        "valid": {"auc": 0.65, "auc/book": 0.7, "auc/film": 0.6, "auc/pooled": 0.66, "logloss": 0.5},
        "best possible": {"auc": 0.9, "auc/book": 0.95},
    }
    lines = metrics_table(results, ["auc", "logloss"], ["book", "film"]).split("\n")
    assert lines[0].split("  ")[-3:] == ["valid auc", "valid logloss", "best possible auc"]
    assert [line.split() for line in lines[2:]] == [
        ["book", "0.7000", "-", "0.9500"],
        ["film", "0.6000", "-", "-"],
        ["macro", "mean", "0.6500", "0.5000", "0.9000"],
        ["pooled", "0.6600", "-", "-"],
    ]
    assert len({len(line) for line in lines}) == 1


def test_the_mean_names_its_kinds_where_it_is_not_over_all():
    results = {"test": {"auc": 0.7, "auc/book": 0.7, "auc/film": float("nan"), "auc/pooled": 0.6}}
    results["valid"] = {"auc": 0.7, "auc/book": 0.8, "auc/film": 0.6, "auc/pooled": 0.6}
    assert metrics_table(results, ["auc"], ["book", "film"]).endswith("\ntest auc: the macro mean is that of book")
    assert "nan" not in metrics_table(results, ["auc"], ["book", "film"])
    results["test"] |= {"auc": float("nan"), "auc/book": float("nan")}
    assert "the macro mean is" not in metrics_table(results, ["auc"], ["book", "film"])


def test_the_table_of_lists_says_what_each_is_ranked_out_of():
    results = {
        "valid": {"recall@10": 0.25, "gini@10": 0.5},
        "test": {"recall@10": 0.2, "recall@10/book": 0.3, "recall@10/cold_users": math.nan, "gini@10": 0.6},
    }
    out_of = ranked_out_of(RankingSettings(items="known"), ["book", "film"])
    lines = lists_table(results, ["recall@10", "gini@10"], out_of).split("\n")
    assert [re.split(r"  +", line.strip()) for line in (lines[0], *lines[2:])] == [
        ["out of", "recall@10", "gini@10"],
        ["valid", "known items", "0.2500", "0.5000"],
        ["test", "known items", "0.2000", "0.6000"],
        ["test book", "known items, book", "0.3000", "-"],
        ["test cold users", "known items", "-", "-"],
    ]
    sampled = ranked_out_of(RankingSettings(sampled=7), ["book", "film"])
    assert sampled[""] == sampled["cold_users"] == "positives and 7 SAMPLED"
    per_kind = ranked_out_of(RankingSettings(sampled=7, sampled_per_kind=True), ["book", "film"])
    assert per_kind["book"] == "positives and 7 SAMPLED, book"
    assert per_kind[""] == per_kind["cold_users"] == "positives and 7 SAMPLED of each kind"


@pytest.mark.parametrize("items", ["all", "known", "new", "new_of_part"])
def test_the_table_of_lists_fits_100_columns_however_many_metrics_there_are(items: str):
    metrics = [f"{base}@{k}" for base in [*USER_METRICS, *CATALOGUE_METRICS] for k in (10, 200)]
    kinds = ["beauty", "video_games"]
    values = {f"{m}{g}": 12345.6789 for m in metrics for g in ("", *(f"/{k}" for k in (*kinds, *GROUPS)))}
    text = lists_table({"valid": values, "test": values}, metrics, ranked_out_of(RankingSettings(items=items), kinds))
    assert max(len(line) for line in text.split("\n")) <= 100
    assert all(text.count(metric) == 1 for metric in metrics) and text.count("12345.6789") == 8 * len(metrics)


def test_small_numbers_are_shown_by_their_size():
    assert [records.shown(value) for value in (0.0, 0.25, -0.001, 0.00012, -3e-7)] == [
        *("0.0000", "0.2500", "-0.0010", "1.2e-04", "-3.0e-07")
    ]


# ------------------------------------------------------------------------------------------ provenance


def test_a_result_says_what_it_depends_on():
    known = provenance()
    assert known["torch"] == torch.__version__ and known["python"].count(".") == 2
    assert {"hrec", "commit", "numpy", "pandas", "scipy", "scikit-learn", "pydantic", "machine", "threads"} <= set(
        known
    )
    assert version_of("no-such-package") == "not installed"
    json.dumps(known)


def test_the_commit_is_that_of_the_checkout():
    here = Path(records.__file__).parent
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    if asked.returncode:
        pytest.skip("not a checkout")
    assert commit().rstrip("+") == asked.stdout.strip()


def test_the_version_is_in_place_of_the_commit_where_git_is_not(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit() == f"hrec {__version__}"


def test_the_commit_is_not_that_of_a_repository_that_hrec_is_installed_in(tmp_path, monkeypatch):
    package = tmp_path / "env" / "hrec"
    (package / "pipeline").mkdir(parents=True)
    monkeypatch.setattr(records, "__file__", str(package / "pipeline" / "records.py"))
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "theirs"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    assert commit() == f"hrec {__version__}"
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "a checkout"]):
        subprocess.run([*git, *words], cwd=package.parent, check=True)
    assert re.fullmatch(r"[0-9a-f]{40,64}", commit())


def test_the_peak_memory_is_that_of_this_process():
    assert 50 < peak_memory_mb(torch.device("cpu"))["memory_mb"] < 100_000


# ---------------------------------------------------------------------------------------------- curves


def test_curves_are_drawn_over_stages_with_epochs_that_were_not_measured(tmp_path):
    rows = [
        row("a", 1, auc=0.5, best=True),
        row("a", 2),
        row("b", 1, align=math.nan, auc=0.6, best=False),
        row("b", 2, align=None),
    ]
    draw_curves(rows, ["auc"], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_metric_that_chose_the_best_epoch_is_drawn_on_an_axis_of_its_own():
    values = [{"auc": 0.6, "ndcg@10": v, "ndcg@10/book": v + 0.3, "ndcg@10/film": 0.5} for v in (0.1, 0.3, 0.2)]
    rows = [row("train", i, best=i == 2, **v) for i, v in enumerate(values, start=1)]
    figure = curves.curves(rows, ["auc", "ndcg@10"], "ndcg@10")
    of = {axis.get_title() or axis.get_ylabel(): axis for axis in figure.axes}
    drawn = {line.get_label(): list(line.get_ydata()) for line in of["validation ndcg@10"].lines}
    assert drawn == {"ndcg@10": [0.1, 0.3, 0.2], "best": [0, 1]}
    assert list(of["validation ndcg@10"].lines[1].get_xdata()) == [2, 2]
    others = [line.get_label() for line in figure.axes[-1].lines]
    assert others[:2] == ["ndcg@10/book", "ndcg@10/film"]
    assert not any("auc" in line.get_label() for axis in figure.axes for line in axis.lines)
    plt.close(figure)


def test_each_term_of_the_loss_has_an_axis_that_fits_its_size():
    rows = [row("train", i, loss=2.0 / i + 1e-4, bce=2.0 / i, topology=1e-4 / i, auc=0.5) for i in (1, 2, 3)]
    figure = curves.curves(rows, ["auc"], "auc")
    of = {axis.get_ylabel(): axis for axis in figure.axes if axis.get_ylabel()}
    assert list(of) == ["loss", "bce", "topology"]
    for name, axis in of.items():
        low, high = axis.get_ylim()
        values = [r[name] for r in rows]
        assert max(values) - min(values) > 0.8 * (high - low), name
    plt.close(figure)
    figure = curves.curves([row("train", 1, loss=1.0, bpr=1.0, auc=0.5)], ["auc"])
    assert [axis.get_ylabel() for axis in figure.axes] == ["loss", ""]  # one term is the loss
    plt.close(figure)


def test_a_legend_covers_no_curve():
    groups = {f"recall@10/{kind}": 0.1 for kind in ("book", "film", "cold_users", "warm_users", "head_items")}
    figure = curves.curves([row("train", 1, **{"recall@10": 0.1}, **groups, best=True)], ["recall@10"], "recall@10")
    figure.canvas.draw()
    legends = [axis.get_legend() for axis in figure.axes if axis.get_legend()]
    assert len(legends) == 2
    for legend in legends:
        box = legend.get_window_extent()
        assert not any(box.overlaps(axis.get_window_extent()) for axis in figure.axes)
        assert figure.bbox.x1 >= box.x1 and figure.bbox.y0 <= box.y0  # all of it is in the picture
    plt.close(figure)


def test_no_rows_draw_no_curves(tmp_path):
    draw_curves([], ["auc"], tmp_path / "curves.png")
    assert list(tmp_path.iterdir()) == []
