"""Takes the device of a worker, and states what the conductor must know of it."""

import os
import sys
import time

import torch

from batchscope import __version__
from batchscope.engine.devices.devices import Device, cores, memory_of
from batchscope.engine.errors import printable
from batchscope.engine.journal.events import WorkerLost, WorkerReady
from batchscope.engine.processes import orders
from batchscope.engine.training.torch_device import compute_in_float32, device_problem

NICENESS = 10


def set_up(order: orders.Setup, renewed: bool, began: float) -> WorkerReady | WorkerLost:
    """Take a device, and return that the worker is ready, or why it cannot train there.

    Args:
        order: the device and the number of threads.
        renewed: whether this program continues a worker, whose priority is lowered already.
        began: the `time.perf_counter()` at which the worker began to get ready.
    """
    problem = device_problem(order.device, order.card)
    if problem:
        return WorkerLost(worker=order.worker, reason=printable(problem))
    torch.set_num_threads(order.threads)
    if order.device == "cpu" and not renewed:
        os.nice(NICENESS)  # training uses every core; the screen must stay responsive
    compute_in_float32(torch.device(order.device))
    return WorkerReady(
        worker=order.worker,
        device=order.device,
        device_name=_device_name(order),
        pid=os.getpid(),
        threads=order.threads,
        versions={
            "batchscope": __version__,
            "torch": str(torch.__version__),
            "python": sys.version.split()[0],
        },
        seconds=time.perf_counter() - began,
        node=order.node,
        free_bytes=_share_of_memory(order) if order.node else None,
        sharing=_sharing(order),
    )


def _device_name(order: orders.Setup) -> str:
    """Return the device's name as people read it: with the card's name and the cluster node."""
    device = "cpu"
    if order.device.startswith("cuda"):
        device = f"{order.device} ({torch.cuda.get_device_name(order.device)})"
    return f"{device} on {order.node}" if order.node else device


def _sharing(order: orders.Setup) -> int:
    """Return how many workers the CPU of a cluster node has room for; 1 for a GPU."""
    return max(1, cores() // order.threads) if order.node and order.device == "cpu" else 1


def _share_of_memory(order: orders.Setup) -> int | None:
    """Return the free memory of a node per core, in bytes; None for a GPU."""
    available = memory_of(Device("cpu", "")).available
    return None if order.device != "cpu" or available is None else available // cores()
