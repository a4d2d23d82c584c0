"""Makes the file with the final weights of a trial, which plain torch or torchvision can load."""

import json
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn

from batchscope import __version__
from batchscope.engine.checkpoints import kept_weights
from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.journal.events import WeightsKept
from batchscope.engine.networks.architectures import channels_of, hidden_of
from batchscope.engine.networks.registry import family_of
from batchscope.engine.processes.orders import WeightsOrder
from batchscope.engine.spec import Model
from batchscope.engine.training.trainer.job import TrainingJob
from batchscope.engine.training.trainer.replicate import Replicate

ALIGNMENT = 8


def keep(job: TrainingJob, member: Replicate, order: WeightsOrder) -> WeightsKept:
    """Write the final weights of a member to the folder that the order names.

    Raises:
        OSError: the file cannot be written.
    """
    content = file_content(named_tensors(member), described(job, member, order))
    digest = kept_weights.write(Path(order.folder), content)
    return WeightsKept(
        trial=member.trial.id, attempt=job.attempt, bytes=len(content), digest=digest
    )


def named_tensors(member: Replicate) -> dict[str, Tensor]:
    """Return copies of weights and buffers on the CPU, by their names in the documented module.

    Those of a person's model have the names of its state_dict, so that it loads them.
    """
    settings = member.trial.settings
    if settings.task is not None:
        return {
            name: tensor.detach().cpu().contiguous().clone()
            for name, tensor in member.flat.model.state_dict().items()
            if isinstance(tensor, Tensor)
        }
    names = module_names(settings.model, settings.data.name)
    return renamed(member.flat.model, names)


def module_names(model: Model, dataset: str) -> tuple[str, ...]:
    """Return the names of the modules with weights; see `Family.module_names`."""
    family, images = family_of(model), DATASETS[dataset]
    return family.module_names(family.layers(model, images.shape, images.classes))


def renamed(network: nn.Module, names: tuple[str, ...]) -> dict[str, Tensor]:
    """Return copies of a state_dict's tensors, with other names for the modules in its order."""
    state = network.state_dict()
    ours = dict.fromkeys(key.rpartition(".")[0] for key in state)
    new = dict(zip(ours, names, strict=True))
    tensors = {}
    for key, tensor in state.items():
        module, _, last = key.rpartition(".")
        tensors[f"{new[module]}.{last}"] = tensor.detach().cpu().contiguous().clone()
    return tensors


def described(job: TrainingJob, member: Replicate, order: WeightsOrder) -> dict[str, str]:
    """Return the metadata of the file: the sweep, trial, settings and versions, as strings."""
    trial = member.trial
    last = member.history.records[-1]
    return {
        "program": "batchscope",
        "batchscope_version": __version__,
        "torch_version": str(torch.__version__),
        "sweep": order.sweep,
        "preset": order.preset,
        "trial": trial.id,
        "configuration": trial.configuration,
        "label": order.label,
        "seed": str(trial.seed),
        "steps": str(last.steps),
        "epochs": str(last.epoch),
        "dataset": trial.settings.data.name,
        "data_sha256": job.data_digest,
        "model": _json(_complete(trial.settings.model)),
        "settings": _json(trial.settings),
    }


def file_content(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """Return the bytes of a safetensors file; equal input gives equal bytes.

    The library writes the metadata in an order that changes from process to process, so the header
    is written again in alphabetical order.
    """
    from safetensors.torch import save  # only where weights are kept

    content = save(tensors, metadata)
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    ordered = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    encoded = ordered.encode()
    encoded = encoded.ljust(-(-len(encoded) // ALIGNMENT) * ALIGNMENT)
    return len(encoded).to_bytes(8, "little") + encoded + content[start:]


def _complete(model: Model) -> Model:
    """Return the model with the network's own widths where the preset leaves them open."""
    channels = channels_of(model) or None
    return msgspec.structs.replace(model, hidden=hidden_of(model), channels=channels)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
