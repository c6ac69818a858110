"""Which device a setting means, how precisely it computes, and which rows a process works on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hrec.config import ConfigError
from hrec.pipeline import devices
from hrec.pipeline.devices import Processes, autocast, check_precision, pick_device, processes, reuse_memory


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.fixture
def three_gpus(monkeypatch):
    """GPU 1 has most memory free, says gpustat."""
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    gpus = [SimpleNamespace(index=i, memory_available=free) for i, free in enumerate((10, 500, 300))]
    monkeypatch.setattr(devices.gpustat, "new_query", lambda: SimpleNamespace(gpus=gpus))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda i: ((7, 8, 9)[i], 10))


# ---------------------------------------------------------------------------------------- pick_device


def test_the_cpu_is_the_cpu_with_and_without_gpus(no_gpu):
    assert pick_device("cpu") == torch.device("cpu")


def test_the_cpu_is_the_cpu_where_there_are_gpus(three_gpus):
    assert pick_device("cpu") == torch.device("cpu")


def test_auto_is_the_cpu_where_there_is_no_gpu(no_gpu):
    assert pick_device("auto") == torch.device("cpu")


@pytest.mark.parametrize("wanted", ["cuda", "cuda:0"])
def test_a_gpu_that_is_not_there_is_reported_in_a_sentence(no_gpu, wanted):
    with pytest.raises(
        ConfigError, match=f"device '{wanted}': this machine has no usable GPU; use --device cpu or auto"
    ):
        pick_device(wanted)


@pytest.mark.parametrize("wanted", ["banana", "", "cuda:", "cuda:x", "cuda:-1", "gpu", "CPU"])
def test_what_is_no_device_is_reported_in_a_sentence(three_gpus, wanted):
    with pytest.raises(ConfigError, match=f"device '{wanted}': write auto, cpu, cuda or cuda:<number>"):
        pick_device(wanted)


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
def test_the_gpu_with_the_most_free_memory_is_picked(three_gpus, wanted):
    assert pick_device(wanted) == torch.device("cuda", 1)


def test_a_gpu_is_picked_by_its_number(three_gpus):
    assert pick_device("cuda:2") == torch.device("cuda", 2)


def test_a_number_past_the_last_gpu_is_reported_in_a_sentence(three_gpus):
    with pytest.raises(ConfigError, match=r"this machine has 3 GPU\(s\), cuda:0 to cuda:2"):
        pick_device("cuda:3")


def test_under_torchrun_each_process_has_its_own_gpu(three_gpus, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert pick_device("auto") == torch.device("cuda", 2)
    monkeypatch.setenv("LOCAL_RANK", "4")
    assert pick_device("auto") == torch.device("cuda", 1)


@pytest.mark.parametrize("broken", ["fails", "sees other gpus"])
def test_torch_tells_the_free_memory_where_gpustat_cannot(three_gpus, monkeypatch, broken):
    def query() -> SimpleNamespace:
        if broken == "fails":
            raise RuntimeError("NVML: driver/library mismatch")
        return SimpleNamespace(gpus=[SimpleNamespace(index=0, memory_available=5)])

    monkeypatch.setattr(devices.gpustat, "new_query", query)
    assert pick_device("cuda") == torch.device("cuda", 2)


# ------------------------------------------------------------------------------------------- precision


@pytest.mark.parametrize(("precision", "dtype"), [("32", torch.float32), ("bf16", torch.bfloat16)], ids=["32", "bf16"])
def test_a_forward_pass_computes_in_the_precision_asked_for(precision, dtype):
    with autocast(torch.device("cpu"), precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_float16_on_the_cpu_is_refused_with_a_sentence():
    check_precision(torch.device("cpu"), "bf16")
    check_precision(torch.device("cuda", 0), "16")
    with pytest.raises(ConfigError, match=r"opt.precision '16' is for GPUs; on the CPU use '32' or 'bf16'"):
        check_precision(torch.device("cpu"), "16")


def test_keeping_freed_memory_does_no_harm_and_may_be_asked_for_twice():
    reuse_memory()
    reuse_memory()
    assert torch.ones(10_000).sum() == 10_000


# ------------------------------------------------------------------------------------------- processes


@pytest.mark.parametrize("n", [0, 1, 5, 12])
@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_every_row_is_the_share_of_exactly_one_process_and_shares_are_even(n, world):
    shares = [Processes(rank, world).share(n) for rank in range(world)]
    assert sorted(np.concatenate(shares).tolist()) == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("n", [0, 1, 5, 12])
@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_gathering_puts_what_each_process_worked_out_back_in_order(monkeypatch, n, world):
    values = np.arange(n, dtype=np.float32) ** 2
    shares = [values[Processes(rank, world).share(n)] for rank in range(world)]

    def send(parts: list[np.ndarray], mine: np.ndarray) -> None:
        parts[:] = shares

    monkeypatch.setattr(torch.distributed, "all_gather_object", send)
    for rank in range(world):
        out = Processes(rank, world).gather(shares[rank], n)
        assert out.dtype == np.float32 and out.tolist() == values.tolist()


def test_the_first_process_is_the_main_one():
    assert Processes().is_main and Processes(0, 4).is_main and not Processes(1, 4).is_main


def test_without_torchrun_there_is_one_process(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with processes(torch.device("cpu")) as group:
        assert group == Processes(0, 1)
