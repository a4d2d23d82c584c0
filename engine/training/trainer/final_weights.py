"""Saves and loads the final weights of a trial, from which loss curves along lines are computed."""

import io
from pathlib import Path

import torch
from torch import Tensor

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.errors import Problem, printable
from batchscope.engine.training.model.flat_model import FlatModel

_COPIES, _BUFFERS = 32, 1 << 30
"""Bytes for each weight and for the buffers that no file exceeds."""


class Unreadable(Problem):
    """The final weights of a trial are missing or damaged."""


def save(folder: Path, attempt: int, steps: int, flat: FlatModel) -> None:
    """Write the weights (P,) and the buffers of a network, atomically.

    Raises:
        Superseded: a later attempt of the trial has written its weights.
        OSError: the file cannot be written.
    """
    content = {
        "weights": flat.weights.detach().clone(),
        "buffers": [buffer.clone() for buffer in flat.model.buffers()],
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    checkpoints.write(folder, attempt, steps, buffer.getvalue())


def load(folder: Path, length: int) -> Tensor:
    """Return the final weights that a folder holds, on the CPU, shape (`length`,).

    Raises:
        Unreadable: they are missing, damaged, or of another network.
    """
    why = "they are missing"
    for path in checkpoints.candidates(folder):
        try:
            payload = checkpoints.read(path, _COPIES * length + _BUFFERS)[1]
            content = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
            weights = content["weights"]
            found = weights.shape, weights.dtype
        except checkpoints.Damaged as error:
            why = str(error)
        except OSError as error:
            why = error.strerror or str(error)
        except Exception as error:  # torch raises many kinds for bytes that it cannot read
            why = f"{type(error).__name__}: {error}"
        else:
            if found != ((length,), torch.float32):
                raise Unreadable(f"the final weights in {folder.name} are of another network")
            kept: Tensor = weights
            return kept
    shown = printable(" ".join(why.split()))[:300]
    raise Unreadable(f"the final weights in {folder.name} cannot be read: {shown}")
