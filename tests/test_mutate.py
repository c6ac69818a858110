"""scripts/mutate.py: a pass over a tiny project, and whether the mutations of this one can still be made."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import mutate
import pytest
from mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[1]
TESTS = ("tests/test_sums.py",)
CAUGHT = Mutation("sums.py", "a + b", "a - b", TESTS)
MISSED = Mutation("sums.py", "a * b", "a ** b", TESTS)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with a sum and a product, of which only the sum is tested."""
    root = tmp_path / "project"
    (root / "tests").mkdir(parents=True)
    (root / "sums.py").write_text("def add(a, b):\n    return a + b\n\n\ndef times(a, b):\n    return a * b\n")
    (root / "tests" / "test_sums.py").write_text("import sums\n\n\ndef test_add():\n    assert sums.add(2, 1) == 3\n")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return root


def test_survivors_are_reported_and_tried_again_and_what_was_caught_is_not(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    words = ["--results", str(tmp_path / "results.json"), "--log", str(tmp_path / "log.md")]
    assert mutate.main(words, project, [CAUGHT, MISSED]) == 1
    out = capsys.readouterr().out
    assert "1/2  sums.py: 'a + b' -> 'a - b'  tests/test_sums.py::test_add" in out and "1 of 2 mutations" in out
    log = (tmp_path / "log.md").read_text().splitlines()
    assert "| sums.py | `a + b` | `a - b` | tests/test_sums.py test_add |" in log
    assert "| sums.py | `a * b` | `a ** b` | **survived** |" in log
    assert "a + b" in (project / "sums.py").read_text()  # the checkout itself is not touched
    with (project / "tests" / "test_sums.py").open("a") as file:
        file.write("\n\ndef test_times():\n    assert sums.times(3, 2) == 6\n")
    assert mutate.main(words, project, [CAUGHT, MISSED]) == 0
    out = capsys.readouterr().out
    assert "1/1  sums.py: 'a * b' -> 'a ** b'  tests/test_sums.py::test_times" in out and "2 of 2 mutations" in out


def test_tests_that_fail_without_a_mutation_end_the_pass(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    (project / "sums.py").write_text("def add(a, b):\n    return 0 * (a + b)\n")
    assert mutate.main(["--results", str(tmp_path / "results.json")], project, [CAUGHT]) == 2
    assert "fails without any mutation, at tests/test_sums.py::test_add" in capsys.readouterr().err


def test_a_mutation_that_cannot_be_made_is_named(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    gone = Mutation("sums.py", "a / b", "a // b", TESTS)
    no_file = Mutation("sum.py", "a", "b", TESTS)
    assert mutate.main(["--results", str(tmp_path / "results.json")], project, [gone, no_file]) == 2
    err = capsys.readouterr().err
    assert "sums.py holds 'a / b' 0 times" in err and "no file sum.py" in err


def test_a_results_file_of_an_older_state_is_not_believed(project: Path, tmp_path: Path):
    words = ["--results", str(tmp_path / "results.json")]
    assert mutate.main(words, project, [CAUGHT]) == 0
    (project / "sums.py").write_text("def add(a, b):\n    return max(a + b, a + 1)\n".replace("a + 1", "3"))
    assert mutate.main(words, project, [CAUGHT]) == 1  # max(a - b, 3) is right for 2 and 1
    assert len(json.loads((tmp_path / "results.json").read_text())) == 2


def test_every_mutation_can_be_made():
    assert [line for m in MUTATIONS if (line := mutate.problem(m, ROOT))] == []


def test_there_are_mutations_of_each_part_and_none_twice():
    assert len({(m.file, m.old, m.new) for m in MUTATIONS}) == len(MUTATIONS) >= 60
