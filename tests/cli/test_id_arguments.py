"""Ids on the command line, whose bytes are UTF-8 in every locale."""

import os
import subprocess
import sys

import pytest

from hrec.cli.recommend import parser

LATIN = os.fsdecode(b"\xfc6")


def test_ids_are_read_as_utf8_whatever_python_made_of_their_bytes(monkeypatch):
    args = parser("x").parse_args(["run", "--user", "ü6", "--kind", "bücher"])
    assert args.user == ["ü6"] and args.kind == "bücher"
    half = "ü6".encode().decode("ascii", "surrogateescape")  # as in a locale of ASCII alone
    monkeypatch.setattr(os, "fsencode", lambda text: text.encode("ascii", "surrogateescape"))
    assert parser("x").parse_args(["run", "--user", half]).user == ["ü6"]


@pytest.mark.parametrize("option", ["--user", "--kind"])
def test_an_id_that_is_not_utf8_is_refused_in_words(option, capsys):
    with pytest.raises(SystemExit):
        parser("x").parse_args(["run", option, LATIN])
    said = capsys.readouterr().err
    assert rf"argument {option}: '\xfc6': not UTF-8 text (byte 0xfc)" in said and "two dashes" not in said


def test_bytes_that_are_not_utf8_end_the_command_without_a_traceback(tmp_path):
    command = [sys.executable, "-m", "hrec", "recommend", str(tmp_path), "--user", LATIN]
    done = subprocess.run(command, check=False, capture_output=True, env=os.environ | {"LC_ALL": "C"}, timeout=120)
    assert done.returncode == 2 and b"not UTF-8" in done.stderr and b"Traceback" not in done.stderr
