"""Where a run computes: the freest GPU or the CPU, how precisely, and as which of how many processes."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import gpustat
import numpy as np
import torch
import torch.distributed as dist

from hrec.config import ConfigError

PATIENCE = timedelta(days=7)
"""For a process that has finished its own stages to wait for the others; torchrun ends all where one fails."""


@dataclass
class Processes:
    """This process among those that train one model together (torchrun)."""

    rank: int = 0
    world: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Meanwhile this process works as if there were no other: it shares nothing and waits for nobody."""
        rank, world = self.rank, self.world
        self.rank, self.world = 0, 1
        try:
            yield
        finally:
            self.rank, self.world = rank, world

    def share(self, n: int) -> np.ndarray:
        """The rows of 0..n-1 that this process works on."""
        return np.arange(self.rank, n, self.world)

    def weight(self, rows: int) -> float:
        """The factor of a mean over this process's rows with which the mean over processes is that over all rows."""
        if self.world == 1:
            return 1.0
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        total = torch.tensor(float(rows), device=device)
        dist.all_reduce(total)
        return rows * self.world / float(total)

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean over the processes of tensors of one shape."""
        if self.world > 1:
            dist.all_reduce(value)
            value = value / self.world
        return value

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            dist.barrier()

    def collect(self, mine: list[Any]) -> list[Any]:
        """The lists of all processes, one after another, on every process."""
        parts: list[list[Any]] = [mine] * self.world
        if self.world > 1:
            dist.all_gather_object(parts, mine)
        return [one for part in parts for one in part]

    def gather(self, mine: np.ndarray, n: int) -> np.ndarray:
        """All n rows in order, on every process, from the ``share`` that each has worked out."""
        if self.world == 1:
            return mine
        parts: list[np.ndarray] = [np.empty(0)] * self.world
        dist.all_gather_object(parts, mine)
        out = np.empty((n, *mine.shape[1:]), mine.dtype)
        for rank, part in enumerate(parts):
            out[rank :: self.world] = part
        return out


@contextmanager
def processes(device: torch.device) -> Iterator[Processes]:
    """The process group that torchrun asks for in the environment; one process without it."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Processes()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)  # where NCCL puts what it gathers, and "cuda" without a number means
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Processes(dist.get_rank(), world)
    finally:
        dist.destroy_process_group()


def pick_device(wanted: str) -> torch.device:
    """The device that a setting means: auto, cpu, cuda (the GPU with the most free memory) or cuda:<n>.

    Raises ConfigError if the device is missing.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cpu":
        return torch.device("cpu")
    if wanted == "cuda" or (wanted.startswith("cuda:") and wanted[5:].isdecimal() and len(wanted) < 12):
        count = torch.cuda.device_count()
        if not count:
            raise ConfigError(f"device '{wanted}': this machine has no usable GPU; use --device cpu or auto")
        index = int(wanted[5:]) if ":" in wanted else _own_gpu(count)
        if index >= count:
            raise ConfigError(f"device '{wanted}': this machine has {count} GPU(s), cuda:0 to cuda:{count - 1}")
        return torch.device("cuda", index)
    raise ConfigError(f"device '{wanted}': write auto, cpu, cuda or cuda:<number>")


def _own_gpu(count: int) -> int:
    """Under torchrun the GPU of this process's index, else the one with the most free memory."""
    if "LOCAL_RANK" in os.environ:
        return int(os.environ["LOCAL_RANK"]) % count
    try:
        free = {gpu.index: gpu.memory_available for gpu in gpustat.new_query().gpus}
    except Exception:  # the driver's query library fails in its own ways; any GPU is better than none
        free = {}
    # gpustat counts every GPU of the machine, torch only the visible ones
    if len(free) != count:
        free = {i: torch.cuda.mem_get_info(i)[0] for i in range(count)}
    return max(free, key=lambda i: (free[i], -i))


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context of a forward pass: half precision for '16' and 'bf16'."""
    if precision == "32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)


def check_precision(device: torch.device, precision: str) -> None:
    """Raises ConfigError for float16 on the CPU, which has no use for it."""
    if precision == "16" and device.type == "cpu":
        raise ConfigError("opt.precision '16' is for GPUs; on the CPU use '32' or 'bf16'")


LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""torch's own setting, read from the environment when the first tensor is made."""


def reuse_memory() -> None:
    """Keep freed memory in the process instead of returning it to the system, in large pages (Linux with glibc).

    A step frees and allocates tens of megabytes. By default each time is a new mapping whose pages the kernel must
    clear, which took longer than the arithmetic on them. Random reads from a table of thousands of small pages wait for
    their addresses (docs/log). Call it before the first tensor is made.
    """
    if not sys.platform.startswith("linux"):
        return
    os.environ.setdefault(LARGE_PAGES, "1")
    m_trim_threshold, m_mmap_max = -1, -4
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)
    except (OSError, AttributeError):
        return  # another C library: nothing is lost but speed
