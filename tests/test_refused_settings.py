"""Settings that would train nothing, or mean nothing, are refused with a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hrec.cli import commands, train
from hrec.config import ConfigError, load
from hrec.models import MODELS, find_model
from hrec.numbers import holds_numbers
from hrec.pipeline.checks import check_settings

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)


def check(name: str, *overrides: str) -> None:
    check_settings(load(name, find_model, ["device=cpu", *overrides]))


@pytest.mark.parametrize("lr", ["0", "0.0", "-0.0", "1e-400", "1e-50", "1e999", "NaN", "-0.1"])
def test_a_learning_rate_that_trains_nothing_is_refused(lr: str):
    with pytest.raises(ConfigError, match=r"opt.hyper_params"):
        check("fm", f"opt.hyper_params.lr={lr}")
    with pytest.raises(ConfigError, match=r"opt.hyper_params"):
        check("dualnet", f"opt.stages.pretrain.hyper_params.lr={lr}")


@pytest.mark.parametrize("key", ["betas=[0.9,Infinity]", "betas=[NaN,0.9]", "eps=Infinity", "weight_decay=NaN"])
def test_an_optimiser_takes_finite_numbers_alone(key: str):
    with pytest.raises(ConfigError, match=r"opt.hyper_params.\w+: should be a finite number"):
        check("fm", f"opt.hyper_params.{key}")


@pytest.mark.parametrize(
    ("name", "hyper_params", "rate"),
    [
        ("CosineAnnealingLR", {"T_max": 10, "eta_min": -1}, "-0"),
        ("ExponentialLR", {"gamma": -0.5}, "-0.0005"),
        ("ExponentialLR", {"gamma": 0}, "0"),
        ("ExponentialLR", {"gamma": 1e30}, "inf"),
        ("StepLR", {"step_size": 3, "gamma": -1}, "-0.001"),
        ("MultiStepLR", {"milestones": [20], "gamma": -2}, "-0.002"),
        ("LinearLR", {"total_iters": 3, "end_factor": 0}, r"\d"),  # up to rounding
        ("ReduceLROnPlateau", {"patience": 2, "factor": -0.1, "min_lr": -1}, "-0.0001"),
    ],
)
def test_a_scheduler_that_leaves_no_learning_rate_to_train_with_is_refused(name, hyper_params, rate):
    scheduler = f"opt.scheduler={json.dumps({'name': name, 'hyper_params': hyper_params})}"
    with pytest.raises(ConfigError, match=rf"opt.scheduler.hyper_params: {name} .* the learning rate {rate}"):
        check("fm", scheduler)


@pytest.mark.parametrize(
    ("name", "hyper_params"),
    [
        ("CosineAnnealingLR", {"T_max": 100}),
        ("CosineAnnealingLR", {"T_max": 10}),  # touches 0 and comes back
        ("ExponentialLR", {"gamma": 0.5}),
        ("LinearLR", {"total_iters": 200, "end_factor": 0}),
        ("StepLR", {"step_size": 100, "gamma": 0}),  # after the last epoch
    ],
)
def test_a_scheduler_may_end_at_0(name, hyper_params):
    check("fm", f"opt.scheduler={json.dumps({'name': name, 'hyper_params': hyper_params})}")


@pytest.mark.parametrize("name", MODELS)
def test_no_number_of_a_model_may_be_infinite(name: str, tmp_path: Path):
    fields = find_model(name).Config.model_fields
    numbers = [key for key, field in fields.items() if holds_numbers(field.annotation) and "float" in str(field)]
    config = tmp_path / "config.json"
    for value in ("Infinity", "-Infinity", "NaN", "1e999"):
        for key in numbers:
            text = f"[{value}]" if "tuple" in str(fields[key].annotation) else value
            config.write_text(f'{{"data": "planted-tiny", "model": {{"name": "{name}", "{key}": {text}}}}}')
            with pytest.raises(ConfigError, match=rf"model\.{key}[.\d]*: should be a finite number"):
                load(str(config), find_model)


@pytest.mark.parametrize("path", ["", "  ", "\\t", "a\\u0000b"])
@pytest.mark.parametrize(
    "key",
    [
        'path.output="{}"',
        'path.cache="{}"',
        'data={{"inter_feat_path":"{}"}}',
        'data={{"inter_feat_path":"a","user_feat_path":"{}"}}',
        'data={{"inter_feat_path":"a","item_feat_path":"{}"}}',
        'data={{"inter_feat_path":"a","item_feat_path":{{"book":"{}"}}}}',
        'data={{"inter_feat_path":"a","feat":{{"x":{{"type":"vector","path":"{}"}}}}}}',
    ],
)
def test_an_empty_path_is_refused(key: str, path: str):
    with pytest.raises(ConfigError, match=r"(path|output|cache|book)\S*: should be a path, got '"):
        load("fm", find_model, [key.format(path)])


@pytest.mark.parametrize(
    ("main", "words"),
    [
        (commands.main, ["export", "", "--to", "npy"]),
        (commands.main, ["export", "run", "--to", "npy", "--out", " "]),
        (commands.main, ["recommend", "run", "--user", "u", "--out", ""]),
        (commands.main, ["recommend", "run", "--users-from", ""]),
        (commands.main, ["recommend", "run", "--history", ""]),
        (lambda words: train.train("", False, words), ["--resume", ""]),
    ],
)
def test_an_empty_path_on_the_command_line_is_refused(main, words, capsys: pytest.CaptureFixture):
    assert main(words) == 2
    assert "should be a path, got" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("lightgcn", "n_layers"),
        ("bitgcf", "n_layers"),
        ("freedom", "item_layers"),
        ("herograph", "hops"),
        ("sasrec", "n_layers"),
        ("dcn", "cross_layers"),
    ],
)
def test_more_layers_than_can_be_computed_are_refused(name: str, key: str):
    with pytest.raises(ConfigError, match=rf"model.{key}: should be less than or equal to 100, got 1000000"):
        load(name, find_model, [f"model.{key}=1000000"])
