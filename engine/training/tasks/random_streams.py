"""Seeds the global generators from a few numbers, cheaply enough for every sample and step."""

import random

import numpy as np
import torch

MASK = (1 << 64) - 1


def mixed(*numbers: int) -> int:
    """Return a hash of some numbers, in 64 bits: splitmix64 (Steele et al. 2014) over each."""
    state = len(numbers)
    for number in numbers:
        state = (state + (number & MASK) + 0x9E3779B97F4A7C15) & MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
        state ^= state >> 31
    return state


def seed_from(*numbers: int, device: torch.device | None = None) -> None:
    """Seed the generators of Python, numpy and torch from some numbers.

    `torch.manual_seed` would take half a millisecond: it looks for every kind of accelerator.

    Args:
        numbers: whatever the random numbers may depend on.
        device: a GPU whose generator is seeded too.
    """
    seed = mixed(*numbers)
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed >> 1)
    if device is not None and device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed >> 1)


def next_numbers(device: torch.device) -> tuple[object, ...]:
    """Return what the generators give next, drawing it: the same if nothing was drawn since a seed.

    Args:
        device: a GPU whose generator counts too.
    """
    drawn: list[object] = [random.random(), np.random.random(), float(torch.rand(()))]
    if device.type == "cuda":
        drawn.append(torch.cuda.get_rng_state(device).tolist())
    return tuple(drawn)
