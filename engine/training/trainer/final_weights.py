"""Final weights that a trial leaves behind, for whoever looks at the way between two of them."""

import io
from pathlib import Path

import torch
from torch import Tensor

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.errors import Problem
from batchscope.engine.training.model.flat_model import FlatModel


class Unreadable(Problem):
    """The final weights of a trial are not there, or not whole."""


def leave(folder: Path, attempt: int, steps: int, flat: FlatModel) -> None:
    """Write the weights (P,) and what the network keeps beside them, whole or not at all.

    Raises:
        Superseded: a later attempt of the trial has left its weights.
        OSError: the disk refuses.
    """
    content = {
        "weights": flat.weights.detach().clone(),
        "buffers": [buffer.clone() for buffer in flat.model.buffers()],
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    checkpoints.write(folder, attempt, steps, buffer.getvalue())


def take_up(folder: Path, length: int) -> Tensor:
    """The final weights (P,) that lie in a folder, on the CPU; P must be `length`.

    Raises:
        Unreadable: they are not there, not whole, or of another network.
    """
    why = "they are not there"
    for path in checkpoints.candidates(folder):
        try:
            content = torch.load(
                io.BytesIO(checkpoints.read(path)[1]), map_location="cpu", weights_only=True
            )
        except (OSError, checkpoints.Damaged) as error:
            why = str(error)
            continue
        weights: Tensor = content["weights"]
        if len(weights) != length:
            raise Unreadable(f"the final weights in {folder.name} are of another network")
        return weights
    raise Unreadable(f"the final weights in {folder.name} cannot be read: {why}")
