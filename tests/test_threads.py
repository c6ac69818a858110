"""How threads wait is decided by the load before torch is loaded, and what the user has set stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hrec import threads

ROOT = Path(__file__).parent.parent


@pytest.fixture
def decide(monkeypatch):
    """The sentence for a machine of 4 cores with so many busy ones, torch not loaded yet."""

    def decide(busy: float, cores: float = 4.0, **environment: str) -> str:
        for name in (*threads.SAID, "OMP_NUM_THREADS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(threads, "_cores", lambda: cores)
        monkeypatch.setattr(threads, "_own_cores", lambda: {0, 1, 2, 3})
        monkeypatch.setattr(threads, "_busy", lambda: busy)
        monkeypatch.delitem(sys.modules, "torch", raising=False)
        threads.how_threads_wait.cache_clear()
        return threads.how_threads_wait()

    yield decide
    threads.how_threads_wait.cache_clear()


def test_on_a_free_machine_threads_spin(decide):
    assert decide(0.1) == "waiting by spinning: 0.1 of 4 cores were busy at the start"
    assert threads.WAIT not in os.environ


@pytest.mark.parametrize("busy", [1.0, 2.5, 4.0])
def test_beside_other_work_threads_wait_passively(decide, busy):
    said = decide(busy)
    assert said.startswith(f"waiting passively: {busy} of 4 cores were busy") and "OMP_WAIT_POLICY=ACTIVE" in said
    assert os.environ[threads.WAIT] == "PASSIVE"


def test_threads_that_find_a_core_each_spin(decide):
    assert decide(1.0, OMP_NUM_THREADS="3").startswith("waiting by spinning")
    assert decide(1.6, OMP_NUM_THREADS="3").startswith("waiting passively")


def test_more_threads_than_a_container_has_time_for_wait_passively(decide):
    assert decide(0.6, cores=2.0).startswith("waiting passively")


@pytest.mark.parametrize("name", threads.SAID)
def test_what_the_user_has_set_stays(decide, name):
    assert decide(4.0, **{name: "0"}) == f"waiting as {name}=0 says"
    assert os.environ.get(threads.WAIT) == ("0" if name == threads.WAIT else None)


def test_one_thread_waits_for_none(decide):
    assert decide(4.0, OMP_NUM_THREADS="1") == ""
    assert threads.WAIT not in os.environ


def test_a_number_of_threads_that_is_none_counts_as_one_for_each_core(decide):
    assert decide(4.0, OMP_NUM_THREADS="many").startswith("waiting passively")


def test_once_torch_is_loaded_nothing_is_decided(decide, monkeypatch):
    decide(4.0)
    monkeypatch.delenv(threads.WAIT)
    threads.how_threads_wait.cache_clear()
    monkeypatch.setitem(sys.modules, "torch", object())
    assert threads.how_threads_wait() == "" and threads.WAIT not in os.environ


def test_busy_cores_are_measured_by_what_they_do_now(monkeypatch):
    moments = iter([{0: (100, 50), 1: (100, 0), 5: (7, 0)}, {0: (200, 100), 1: (200, 0), 5: (99, 0)}])
    monkeypatch.setattr(threads, "_ticks", lambda: next(moments))
    monkeypatch.setattr(threads, "_own_cores", lambda: {0, 1})
    monkeypatch.setattr(threads, "MOMENT", 0.0)
    assert threads._busy() == pytest.approx(1.5)


def test_without_such_counts_the_load_of_the_last_minute_is_taken(monkeypatch):
    monkeypatch.setattr(threads, "_ticks", lambda: {})
    monkeypatch.setattr(threads, "MOMENT", 0.0)
    monkeypatch.setattr(os, "getloadavg", lambda: (3.5, 0.0, 0.0))
    assert threads._busy() == 3.5


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="no counts of ticks")
def test_a_process_that_works_is_seen_on_its_core():
    core = min(threads._own_cores())
    code = f"import os; os.sched_setaffinity(0, [{core}]); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        assert threads._busy() > 0.5
        worker.kill()
