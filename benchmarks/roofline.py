"""Compute the shortest possible time of a training step on this machine.

A step takes at least the time of its floating-point operations at the speed of a large sgemm. It
also takes at least the time to move its weights: they are read in the forward pass, read again in
the backward pass, and written, with the update in the same pass. (The gradient need not be moved:
plain gradient descent can add it to the weights as it is computed. Writing and reading it moves two
thirds more.) The weights move at the speed of a copy of the same size, which depends on the cache
that they fit into.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

import torch
from contenders import now
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from workload import DATASET, NETWORKS

from batchscope.engine.training.model.build import build_model

FLOAT_BYTES = 4
MOVES = 3
LARGE_BYTES, CACHED_BYTES = 256 << 20, 256 << 10
SGEMM_SIDE = 2048


class Need(NamedTuple):
    """The cost of one step: floating-point operations, bytes moved, bytes of the weights."""

    operations: float
    moved_bytes: float
    weight_bytes: int


def best_seconds(work: Callable[[], object], device: torch.device, seconds: float = 0.3) -> float:
    """Return the median seconds of repetitions of at least a millisecond each."""
    work()
    began = now(device)
    work()
    count = max(1, round(1e-3 / max(now(device) - began, 1e-7)))
    taken, end = list[float](), time.perf_counter() + seconds
    while len(taken) < 5 or time.perf_counter() < end:
        began = now(device)
        for _ in range(count):
            work()
        taken.append((now(device) - began) / count)
    return median(taken)


def sgemm_flops(device: torch.device) -> float:
    """Return the floating-point operations per second of a large matrix product."""
    left, right, out = (torch.rand(SGEMM_SIDE, SGEMM_SIDE, device=device) for _ in range(3))
    seconds = best_seconds(lambda: torch.mm(left, right, out=out), device)
    return float(2 * SGEMM_SIDE**3 / seconds)


def copy_bandwidth(size: int, device: torch.device) -> float:
    """Return the bytes read and written per second by a copy."""
    source, target = (torch.rand(size // FLOAT_BYTES, device=device) for _ in range(2))
    return 2 * size / best_seconds(lambda: target.copy_(source), device)


def call_seconds(device: torch.device) -> float:
    """Return the seconds of an operation on a tiny tensor."""
    one, out = torch.rand(1, device=device), torch.rand(1, device=device)
    return best_seconds(lambda: torch.add(one, one, out=out), device, seconds=0.1)


def need(network: str, batch_size: int) -> Need:
    """Count what one step needs, from a real forward and backward pass of one image."""
    model = build_model(NETWORKS[network], DATASET, seed=0)
    with FlopCounterMode(display=False) as counter:
        loss: Any = functional.cross_entropy(
            model(torch.rand(1, *DATASET.shape)), torch.zeros(1, dtype=torch.int64)
        )
        loss.backward()
    weights = FLOAT_BYTES * sum(parameter.numel() for parameter in model.parameters())
    operations = batch_size * float(counter.get_total_flops())
    return Need(operations, float(MOVES * weights), weights)


class Machine:
    """The speeds of the machine with one number of threads."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._known = device, dict[int, float]()
        self.flops = sgemm_flops(device)
        self.large, self.cached = (copy_bandwidth(s, device) for s in (LARGE_BYTES, CACHED_BYTES))
        self.call = call_seconds(device)

    def __str__(self) -> str:
        return (
            f"sgemm {self.flops / 1e9:.0f} GFLOP/s; copy {self.large / 1e9:.1f} GB/s "
            f"({LARGE_BYTES >> 20} MiB), {self.cached / 1e9:.1f} GB/s ({CACHED_BYTES >> 10} KiB); "
            f"a small operation {self.call * 1e6:.1f} us"
        )

    def bound(self, network: str, batch_size: int) -> float:
        """Return the shortest possible seconds of a step."""
        operations, moved, weights = need(network, batch_size)
        if weights not in self._known:
            self._known[weights] = copy_bandwidth(weights, self._device)
        return max(operations / self.flops, moved / self._known[weights])
