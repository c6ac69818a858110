"""The command hrec: what it lists, and that each word reaches its module."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest

from hrec.cli import dispatch
from hrec.cli.commands import COMMANDS, main
from hrec.prepare import ENCODERS, SOURCES

SCRIPTS = Path(__file__).parents[2] / "scripts"
CALLERS = {name: f"hrec.cli.{name}" for name in ("bench", "reproduce", "seeds", "sweep")}
CALLERS["make_planted"] = "hrec.prepare.planted"


def test_the_help_has_a_line_for_each_command(capsys: pytest.CaptureFixture):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf"^{name} +\w", shown, re.MULTILINE) for name in COMMANDS)


@pytest.mark.parametrize("words", [(), ("prepare",)])
def test_a_command_alone_prints_its_help(words: tuple[str, ...], capsys: pytest.CaptureFixture):
    assert main(words) == 0
    alone = capsys.readouterr()
    assert main([*words, "--help"]) == 0
    assert alone.out == capsys.readouterr().out != "" and alone.err == ""


@pytest.mark.parametrize(
    "words", [*((name,) for name in COMMANDS), *(("prepare", name) for name in SOURCES | ENCODERS)]
)
def test_help_names_the_words_before_it(words: tuple[str, ...], capsys: pytest.CaptureFixture):
    assert main([*words, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: hrec {' '.join(words)} ")


def test_an_unknown_command_is_refused_with_those_there_are(capsys: pytest.CaptureFixture):
    assert main(["tarin", "duration"]) == 2
    shown = capsys.readouterr().err
    assert "'tarin'" in shown and "train" in shown.replace("tarin", "")


def test_train_takes_models_of_several_kinds_and_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for config in ("duration", "lr"):
        assert main(["train", config, "data=planted-tiny", "opt.epochs=1", "path.cache=null", "device=cpu"]) == 0
    results = [json.loads(path.read_text(encoding="utf-8")) for path in tmp_path.glob("output/*/result.json")]
    assert sorted(result["model"] for result in results) == ["DURation", "LR"]


def test_prepare_hands_its_options_to_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", "planted", "--size", "tiny"]) == 0
    assert (tmp_path / "data" / "planted-tiny" / "data.json").is_file()


def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'optuna'", name="optuna")

    monkeypatch.setattr(dispatch, "import_module", missing)
    assert main(["sweep", "duration"]) == 2
    assert capsys.readouterr().err == "hrec sweep needs optuna: pip install 'hrec[experiments]'\n"


def test_a_module_of_ours_that_is_missing_is_an_error_of_the_program(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(COMMANDS, "train", "hrec.cli.nothing")
    with pytest.raises(ModuleNotFoundError):
        main(["train"])


@pytest.mark.parametrize("name", [*CALLERS, *sorted(p.stem for p in SCRIPTS.glob("prepare_*.py"))])
def test_each_script_is_a_thin_caller_of_a_module_of_the_package(name: str, monkeypatch: pytest.MonkeyPatch):
    script = SCRIPTS / f"{name}.py"
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = importlib.import_module(name)
    assert module.main.__module__ == CALLERS.get(name, f"hrec.prepare.{name.removeprefix('prepare_')}")
    assert len(script.read_text(encoding="utf-8").splitlines()) < 15
