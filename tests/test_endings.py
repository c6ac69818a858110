"""How commands end whatever their output leads to: not UTF-8, closed, full; and what they do before torch is loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hrec.cli.export import FORMATS
from hrec.inference.export import FORMATS as WRITERS

ROOT = Path(__file__).parent.parent
PATIENCE = 120.0

WORK = """
import sys
from hrec.endings import Refusal, Stopped, status_of

def work():
    print("user \\u00fc\\u65e5 \\udcff")
    open(sys.argv[2], "w").write("data")
    if sys.argv[1] == "refuse":
        raise Refusal("file.csv: \\u65e5 is no number")
    if sys.argv[1] == "missing":
        open("no/such/file")
    if sys.argv[1] == "stop":
        raise Stopped("go on with --resume")
    if sys.argv[1] == "mistake":
        raise OSError("a mistake")

sys.exit(status_of(work, "; go on with --resume"))
"""


def ends(tmp_path: Path, redirect: str, what: str = "", *flags: str, **environment: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of WORK, with the shell's redirections."""
    command = ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, *flags, "-c", WORK, what, tmp_path / "file"]
    done = subprocess.run(
        command,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""} | environment,
        timeout=PATIENCE,
        check=False,
    )
    assert b"Traceback" not in done.stderr or what == "mistake"
    assert b"Exception ignored" not in done.stderr
    assert ">/dev/full" in redirect.split() or (tmp_path / "file").read_text() == "data"
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("ascii", r"user \xfc\u65e5 \udcff"),
        ("cp1252:strict", r"user ü\u65e5 \udcff"),
        ("utf-8", r"user ü日 \udcff"),
        ("latin1", r"user ü\u65e5 \udcff"),
    ],
)
def test_a_letter_that_the_output_cannot_show_becomes_an_escape(tmp_path, encoding, printed):
    code, out, _ = ends(tmp_path, "| iconv -f " + encoding.split(":")[0] + " -t utf-8", PYTHONIOENCODING=encoding)
    assert code == 0 and out == printed + "\n"


def test_a_message_with_a_letter_that_cannot_be_shown_is_reported_too(tmp_path):
    code, _, err = ends(tmp_path, "", "refuse", PYTHONIOENCODING="ascii:strict")
    assert code == 2 and err == "file.csv: \\u65e5 is no number\n"


@pytest.mark.parametrize("redirect", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full", ">&- 2>/dev/full"])
@pytest.mark.parametrize(("what", "status"), [("", 0), ("refuse", 2), ("missing", 2), ("stop", 130)])
def test_closed_streams_and_a_full_standard_error_change_nothing(tmp_path, redirect, what, status):
    assert ends(tmp_path, redirect, what)[0] == status


@pytest.mark.parametrize("flags", [(), ("-u",)])
@pytest.mark.parametrize("redirect", [">/dev/full", ">/dev/full 2>/dev/full"])
def test_standard_output_that_is_full_ends_with_a_message(tmp_path, redirect, flags):
    code, _, err = ends(tmp_path, redirect, "", *flags)
    assert code == 1
    if "2>" not in redirect:
        expected = "stopped: standard output cannot be written (No space left on device); go on with --resume"
        assert err.strip() == expected


def test_an_error_of_the_user_keeps_its_status_where_standard_output_is_full(tmp_path):
    code, _, err = ends(tmp_path, ">/dev/full", "refuse")
    assert code == 2 and "is no number" in err and "cannot be written" in err


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    code, _, err = ends(tmp_path, "", "missing")
    assert code == 2 and err == "no/such/file: No such file or directory\n"


def test_a_mistake_of_the_program_is_a_traceback_still(tmp_path):
    code, _, err = ends(tmp_path, "", "mistake")
    assert code == 1 and "OSError: a mistake" in err


# ------------------------------------------------------------------------------------- before torch is loaded


def run_script(argv: list[str], *, stdout: object = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """A command in which torch cannot be imported."""
    blocked = f"import runpy, sys; sys.modules['torch'] = None; sys.argv = {argv!r}; "
    run = "runpy.run_module('hrec', run_name='__main__', alter_sys=True)"
    if argv[0].endswith(".py"):
        run = f"runpy.run_path({argv[0]!r}, run_name='__main__')"
    command = [sys.executable, "-c", blocked + run]
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=PATIENCE, check=False
    )


@pytest.mark.parametrize(
    "argv",
    [
        ["hrec", "--help"],
        ["hrec", "recommend", "--help"],
        ["hrec", "export", "-h"],
        ["train_hete.py", "--help"],
        ["train_homo.py", "-h"],
    ],
)
def test_help_answers_without_torch(argv):
    done = run_script(argv)
    assert done.returncode == 0 and done.stdout.startswith("usage:") and done.stderr == ""


def test_a_wrong_option_is_refused_without_torch():
    done = run_script(["train_hete.py", "--nonsense"])
    assert done.returncode == 2 and "unrecognized arguments: --nonsense" in done.stderr
    assert "torch" not in done.stderr


def test_help_that_cannot_be_written_ends_with_a_message():
    with Path("/dev/full").open("w") as full:
        done = run_script(["train_hete.py", "--help"], stdout=full)
    assert done.returncode == 1 and "standard output cannot be written" in done.stderr
    assert "Exception" not in done.stderr


def test_the_formats_on_the_command_line_are_those_that_there_are():
    assert tuple(WRITERS) == FORMATS


# ---------------------------------------------------------------------------------------------- a whole run


def test_a_run_and_its_lists_with_names_that_the_output_cannot_show(tmp_path):
    rows = [f"ü{a},{kind}{b},{(a * b + a) % 2},{kind}" for kind in "ё日" for a in range(12) for b in range(6) if a != b]
    (tmp_path / "i.csv").write_text("user_id,item_id,label,type\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "c.json").write_text(json.dumps({"name": "日", "inter_feat_path": str(tmp_path / "i.csv")}))
    options = [f"data={tmp_path / 'c.json'}", "path.cache=null", f"path.output={tmp_path / 'out'}", "opt.epochs=1"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "CUDA_VISIBLE_DEVICES": ""}

    def run(redirect: str, *argv: object) -> subprocess.CompletedProcess[str]:
        command = ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, *map(str, argv)]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=PATIENCE, check=False
        )

    done = run(">&- 2>/dev/full", "train_hete.py", "deepmf", *options)
    assert done.returncode == 0
    (folder,) = (tmp_path / "out").iterdir()
    assert "日" in (folder / "log.txt").read_text(encoding="utf-8")
    done = run("", "-m", "hrec", "recommend", folder, "--all-users", "--k", "1")
    assert done.returncode == 0 and r"\xfc3" in done.stdout
    done = run(">&-", "-m", "hrec", "recommend", folder, "--all-users")
    assert done.returncode == 2 and "standard output is closed" in done.stderr and "--out" in done.stderr
