"""Times steps of stacks of replicates, in turn, on throw-away copies of trials."""

import time

import torch

from engine import orders
from engine.events import Paced
from engine.training.halting import Asked, never
from engine.training.images import Images


def pace(
    order: orders.Pace, images: Images, device: torch.device, worker: int, halted: Asked = never
) -> Paced:
    """Time what the order asks for, as far as it fits and time allows.

    Raises:
        Halted: `halted` said so before the end.
    """
    began = time.perf_counter()
    return Paced(
        trial=order.members[0].id,
        worker=worker,
        device_name=order.device_name,
        batch_size=order.plan.largest,
        micro_batch_size=order.plan.micro_batch_size,
        threads=order.plan.threads,
        asked=max(order.stacks),
        stacks=(),
        seconds=time.perf_counter() - began,
        workers=order.workers,
    )
