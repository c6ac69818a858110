"""hrec compare: finished runs in one table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hrec.cli import compare, train

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished runs by name: LR with two seeds and with another rate, FM, and a run of lists."""
    made = {}
    asked = {
        "lr 0": ["lr", "seed=0"],
        "lr 1": ["lr", "seed=1"],
        "fast": ["lr", "seed=0", "opt.hyper_params.lr=0.1"],
        "fm": ["fm", "seed=0"],
        "popularity": ["popularity", "seed=0"],
        "other split": ["lr", "seed=0", "data.split.ratio=[0.5,0.2,0.3]"],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        for name, words in asked.items():
            out = tmp_path_factory.mktemp("out")
            more = ["data=planted-tiny", "opt.epochs=1", "device=cpu", "path.cache=null", f"path.output={out}"]
            assert train.main([*words, *more], "hrec train") == 0
            (made[name],) = out.iterdir()
    return made


def table(capsys: pytest.CaptureFixture[str], *words: str | Path) -> list[list[str]]:
    assert compare.main([str(word) for word in words], "hrec compare") == 0
    lines = capsys.readouterr().out.splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])]


def refusal(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert compare.main([str(word) for word in words], "hrec compare") != 0
    return " ".join(capsys.readouterr().err.split())


def result(folder: Path) -> dict[str, float]:
    return json.loads((folder / "result.json").read_text())["test"]


def test_seeds_share_a_row(runs, capsys):
    heading, lr, fm = table(capsys, runs["lr 0"], runs["fm"], runs["lr 1"], "--metric", "auc")
    values = [result(runs[name])["auc"] for name in ("lr 0", "lr 1")]
    at = heading.index("macro")
    assert lr[0] == "LR" and lr[at] == f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}"
    assert fm[0] == "FM" and fm[at] == f"{result(runs['fm'])['auc']:.4f}"


def test_rows_of_one_model_name_the_settings_that_differ(runs, capsys):
    names = [row[0] for row in table(capsys, runs["lr 0"], runs["fast"])[1:]]
    assert len(names) == 2 and names[1].startswith("LR ") and "opt.hyper_params.lr=0.1" in names[1]
    assert "opt.epochs" not in names[1]


def test_a_repeated_folder_counts_once(runs, capsys):
    assert len(table(capsys, runs["lr 0"], runs["lr 0"])) == 2


def test_refusals_name_the_folder(runs, capsys, tmp_path):
    assert "no metric in common" in refusal(capsys, runs["lr 0"], runs["popularity"])
    assert "--metric recall@10: all runs measured" in refusal(capsys, runs["lr 0"], "--metric", "recall@10")
    assert f"{tmp_path}: not the folder of a run" in refusal(capsys, tmp_path)
    said = refusal(capsys, runs["lr 0"], runs["other split"])
    assert str(runs["other split"]) in said and "another split" in said
