"""A training as bytes, and a training put back to where those were taken.

The initial weights are drawn anew from the seed, and the order of images from seed and epoch, so
neither is in there; everything else that the coming steps or figures depend on is.
"""

import hashlib
import io
from typing import Any

import msgspec
import torch
from torch import Tensor

from batchscope.engine.planning.plan import Plan
from batchscope.engine.spec import Trial
from batchscope.engine.training.trainer.progress import Clock, Facts, Position
from batchscope.engine.training.trainer.state import TrainingState

_pack = msgspec.msgpack.Encoder().encode


class Misfit(Exception):
    """The bytes are of another training; the message says what differs."""


def take(training: TrainingState) -> bytes:
    """Everything that the rest of a training depends on; its clock must stand still."""
    job, stepper, stack = training.job, training.stepper, training.stepper.stack
    content = {
        "members": _pack(job.members),
        "active": [member.trial.id for member in training.active],
        "plan": _pack(job.plan),
        "data": job.data_digest,
        "start": _digest(stepper.start_weights),
        "position": _pack(training.at),
        "clock": _pack(training.clock),
        "facts": [_pack(member.facts) for member in training.active],
        "moments": list(training.moments.left),
        "weights": stack.weights.detach(),
        "buffers": stack.buffers,
        "optimizer": stepper.optimizer.state_dict(),
        "lr": stepper.lr,
        "instruments": stepper.instrument_states(),
        "random": random_states(training.device),
        "micro_batch_sizes": (
            stepper.micro_batch_size,
            training.judge.batch_size,
            training.active[0].prober.micro_batch_size,
        ),
        "peak_bytes": training.judge.peak_bytes,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def put_back(training: TrainingState, payload: bytes) -> None:
    """Put a training that has not begun to where the bytes were taken.

    Raises:
        Misfit: they are of another trial, plan or data, or another torch drew the first weights.
        Exception: whatever torch finds wrong in them; the training is then good for nothing.
    """
    content = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    _check(training, content)
    stepper, stack = training.stepper, training.stepper.stack
    training.at = msgspec.msgpack.decode(content["position"], type=Position)
    training.clock = msgspec.msgpack.decode(content["clock"], type=Clock)
    facts = dict(zip(content["active"], content["facts"], strict=True))
    for member in training.active:
        member.facts = msgspec.msgpack.decode(facts[member.trial.id], type=Facts)
    training.moments.left = list(content["moments"])
    stack.weights.detach().copy_(content["weights"])
    for buffer, kept in zip(stack.buffers, content["buffers"], strict=True):
        buffer.copy_(kept)
    stepper.optimizer.load_state_dict(content["optimizer"])
    stepper.lr = content["lr"]
    stepper.load_instrument_states(_instrument_states(training, content))
    stepper.micro_batch_size, training.judge.batch_size, draw = content["micro_batch_sizes"]
    for member in training.active:
        member.prober.micro_batch_size = draw
    training.judge.peak_bytes = content["peak_bytes"]
    _set_random_states(content["random"], training.device)


def _instrument_states(training: TrainingState, content: dict[str, Any]) -> dict[str, Any]:
    """Return the state of each instrument by its name, of checkpoints before 0.2 too."""
    if "instruments" in content:
        states: dict[str, Any] = content["instruments"]
        return states
    slices: list[list[Any]] = [[] for _ in training.job.members]
    facts = dict(zip(content["active"], content["facts"], strict=True))
    for index, member in enumerate(training.job.members):
        if member.id in facts:
            slices[index] = msgspec.msgpack.decode(facts[member.id]).get("slices", [])
    norms = {
        "kept": content["norms"],
        "first": training.at.slice_first,
        "slices": _pack(slices),
    }
    names = {"gradient_norms": norms, "weight_travel": content["travel"]}
    return {**names, "noise_scale": content["noise"]}


def random_states(device: torch.device) -> dict[str, Tensor]:
    """What torch draws from on the CPU, and on the device if that is another.

    Orders, batches of probes and initial weights come from generators of their own, so nothing
    here draws from these; a layer that does shall find them as they were.
    """
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_random_states(states: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def _check(training: TrainingState, content: dict[str, Any]) -> None:
    job = training.job
    expected = {
        "trial": (job.members, msgspec.msgpack.decode(content["members"], type=tuple[Trial, ...])),
        "plan": (job.plan, msgspec.msgpack.decode(content["plan"], type=Plan)),
        "data": (job.data_digest, content["data"]),
        "start": (_digest(training.stepper.start_weights), content["start"]),
    }
    names = {"trial": "settings", "plan": "plan", "data": "images", "start": "initial weights"}
    for name, (ours, kept) in expected.items():
        if ours != kept:
            raise Misfit(f"it was taken with other {names[name]}")
    missing = set(job.active) - set(content["active"])
    if missing:
        raise Misfit(f"it does not hold {', '.join(sorted(missing))}")


def _digest(weights: Tensor) -> str:
    return hashlib.sha256(weights.cpu().numpy().tobytes()).hexdigest()
