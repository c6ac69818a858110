"""JSON that is too deep or has numbers that are too long is refused in words, in files and on the command line."""

from __future__ import annotations

import json

import pytest

from hrec.config import ConfigError, load, read_json
from hrec.jsontext import DEPTH, DIGITS, parse
from hrec.models import find_model


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 50_000 + "1" + "}" * 50_000])
def test_what_is_nested_deep_is_refused(text):
    with pytest.raises(ValueError, match=f"nested more than {DEPTH} deep"):
        parse(text)


def test_the_depth_that_is_accepted_is_exact():
    assert parse("[" * DEPTH + "]" * DEPTH)
    for text in ("[" * (DEPTH + 1) + "]" * (DEPTH + 1), '{"a":' * DEPTH + "[1]" + "}" * DEPTH):
        with pytest.raises(ValueError, match="nested"):
            parse(text)


def test_a_number_of_many_digits_is_refused():
    assert parse("1" * DIGITS) == int("1" * DIGITS)
    for digits in (DIGITS + 1, 4300, 5000):
        with pytest.raises(ValueError, match=rf"the number 1111111111\.\.\. has {digits:,} digits"):
            parse('{"a": [' + "1" * digits + "]}")


def test_a_wrong_text_is_reported_by_its_place():
    with pytest.raises(json.JSONDecodeError) as wrong:
        parse('{"a":\n x}')
    assert (wrong.value.lineno, wrong.value.colno) == (2, 2)


DEEP, LONG = "[" * 2000 + "]" * 2000, "9" * 5000


@pytest.mark.parametrize(("value", "why"), [(DEEP, "nested more than 50 deep"), (LONG, "has 5,000 digits")])
def test_files_and_overrides_are_refused_in_one_message(tmp_path, value, why):
    (tmp_path / "c.json").write_text(f'{{"model": {{"name": "DMF"}}, "opt": {{"epochs": {value}}}}}')
    with pytest.raises(ConfigError, match=rf"c\.json: .*{why}"):
        read_json(tmp_path / "c.json")
    (tmp_path / "d.json").write_text('{"model": {"name": "DMF"}, "data": {"planted": {}}}')
    with pytest.raises(ConfigError, match=rf"opt\.epochs: .*{why}"):
        load(str(tmp_path / "d.json"), find_model, [f"opt.epochs={value}"])


@pytest.mark.parametrize(
    "key", ["opt.epochs", "opt.batch_size", "opt.early_stop.stop_step", "model.embedding_size", "seed"]
)
def test_a_whole_number_that_no_array_can_hold_is_refused_by_its_key(tmp_path, key):
    (tmp_path / "d.json").write_text('{"model": {"name": "BPRMF"}, "data": {"planted": {}}}')
    with pytest.raises(ConfigError, match=rf"{key}: should be less than 9223372036854775808"):
        load(str(tmp_path / "d.json"), find_model, [f"{key}=9223372036854775808"])


@pytest.mark.parametrize("text", [r'["\ud800"]', r'{"a\udc00": 1}', r'{"a": [{"b": "x\ud83d"}]}', '"\udcfc"'])
def test_half_a_pair_of_surrogates_is_refused(text):
    with pytest.raises(ValueError, match=r"\\ud\w\w\w is no character"):
        parse(text)
    assert parse(r'["\ud83d\ude00", "é"]') == ["😀", "é"]


@pytest.mark.parametrize("value", [r'["\ud800"]', "\udcfc"])
def test_files_and_overrides_that_hold_no_characters_are_refused(tmp_path, value):
    (tmp_path / "d.json").write_text('{"model": {"name": "DMF"}, "data": {"planted": {}}}')
    with pytest.raises(ConfigError, match=r"data\.missing_values: .* is no character"):
        load(str(tmp_path / "d.json"), find_model, [f"data.missing_values={value}"])
    (tmp_path / "c.json").write_text(r'{"data": {"missing_values": ["\ud800"]}}')
    with pytest.raises(ConfigError, match=r"c\.json: \\ud800 is no character"):
        read_json(tmp_path / "c.json")
