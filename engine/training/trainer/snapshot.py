"""Converts the state of a training to bytes for a checkpoint, and restores it from them.

The bytes hold everything that later steps and metrics depend on, except the initial weights and
the order of the images: these are drawn again from seed and epoch.
"""

import hashlib
import io
from typing import Any

import msgspec
import torch
from torch import Tensor

from batchscope.engine.checkpoints.file import Damaged
from batchscope.engine.planning.plan import Plan
from batchscope.engine.spec import Trial
from batchscope.engine.training.peak_memory import ran_out
from batchscope.engine.training.trainer.optimizers import Optimizer
from batchscope.engine.training.trainer.progress import Clock, History, Position
from batchscope.engine.training.trainer.state import TrainingState

_pack = msgspec.msgpack.Encoder().encode


_COPIES, _RECORDS = 32, 1 << 30


class Misfit(Exception):
    """The bytes belong to another training; the message says what differs."""


def take(training: TrainingState) -> bytes:
    """Return the state of a training as bytes; its clock must be stopped."""
    job, stepper, stack = training.job, training.stepper, training.stepper.stack
    content = {
        "members": _pack(job.members),
        "active": [member.trial.id for member in training.active],
        "plan": _pack(job.plan),
        "data": job.data_digest,
        "start": _digest(stepper.start_weights),
        "position": _pack(training.at),
        "clock": _pack(training.clock),
        "facts": [_pack(member.history) for member in training.active],
        "moments": list(training.moments.left),
        "weights": stack.weights.detach(),
        "buffers": stack.buffers,
        "optimizer": stepper.optimizer.state_dict(),
        "lr": stepper.lr,
        "highest_lr": stepper.highest_lr,
        "empty_batches": stepper.empty_batches,
        "instruments": stepper.instrument_states(),
        "random": random_states(training.device),
        "micro_batch_sizes": (
            stepper.micro_batch_size,
            training.evaluator.batch_size,
            training.active[0].prober.micro_batch_size,
        ),
        "peak_bytes": training.evaluator.peak_bytes,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def most_bytes(training: TrainingState) -> int:
    """Return a size that no state of a training exceeds, in bytes.

    Weights, optimizer and instruments hold a few values for each weight; the other gigabyte is for
    buffers and for the epochs so far.
    """
    weights = training.stepper.stack.weights
    return _COPIES * weights.numel() * weights.element_size() + _RECORDS


def restore(training: TrainingState, payload: bytes) -> None:
    """Restore the state that `take` returned, in a training that has not begun.

    Raises:
        Misfit: the bytes belong to another trial, plan or data set, or to a torch that draws other
            initial weights.
        Damaged: torch cannot read the bytes.
        Exception: they lack something, or memory ran out; the training must then be set up again.
    """
    content = _decoded(payload)
    _check(training, content)
    stepper, stack = training.stepper, training.stepper.stack
    training.at = msgspec.msgpack.decode(content["position"], type=Position)
    training.clock = msgspec.msgpack.decode(content["clock"], type=Clock)
    facts = dict(zip(content["active"], content["facts"], strict=True))
    for member in training.active:
        member.history = msgspec.msgpack.decode(facts[member.trial.id], type=History)
    training.moments.left = list(content["moments"])
    stack.weights.detach().copy_(content["weights"])
    for buffer, kept in zip(stack.buffers, content["buffers"], strict=True):
        buffer.copy_(kept)
    _check_optimizer(content["optimizer"], stepper.optimizer, own=stepper.brings_optimizer)
    stepper.optimizer.load_state_dict(content["optimizer"])
    stepper.lr = content["lr"]
    stepper.highest_lr = content.get("highest_lr")
    stepper.empty_batches = content.get("empty_batches", 0)
    stepper.load_instrument_states(_instrument_states(training, content))
    stepper.micro_batch_size, training.evaluator.batch_size, draw = content["micro_batch_sizes"]
    for member in training.active:
        member.prober.micro_batch_size = draw
    training.evaluator.peak_bytes = content["peak_bytes"]
    _set_random_states(content["random"], training.device)


def _decoded(payload: bytes) -> dict[str, Any]:
    try:
        content = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for bytes that it cannot read
        if ran_out(error):
            raise
        raise Damaged(f"torch cannot read it: {type(error).__name__}: {error}") from None
    if not isinstance(content, dict):
        raise Damaged("it is not the state of a training")
    return content


def _check_optimizer(state_dict: dict[str, Any], optimizer: Optimizer, own: bool) -> None:
    """Raise `Damaged` unless every state is of its weights' shape; torch's fused loops trust it.

    Args:
        state_dict: the state, whose entries are numbered in the order of the optimizer's weights.
        optimizer: the optimizer that it is for.
        own: whether a person brings the optimizer, whose states may be of any shape.
    """
    weights = [each for group in optimizer.param_groups for each in group.get("params", ())]
    states = state_dict.get("state", {})
    known = set(range(len(weights)))
    if not known.issuperset(states):
        raise Damaged("its optimizer is not of these weights")
    for number, state in states.items():
        for key, value in state.items():
            if not isinstance(value, Tensor):
                continue
            held = value.untyped_storage().nbytes()
            expected = torch.Size() if key == "step" else weights[number].shape
            fits = own or value.shape == expected
            if not fits or held < value.numel() * value.element_size():
                raise Damaged("its optimizer is not of these weights")


def _instrument_states(training: TrainingState, content: dict[str, Any]) -> dict[str, Any]:
    """Return the state of each instrument by its name, also from checkpoints before 0.2."""
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
    """Return the states of torch's global generators of the CPU and, on a GPU, of the device.

    Orders of images, batches of probes and initial weights come from generators of their own. The
    global ones are saved for layers that draw from them.
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
