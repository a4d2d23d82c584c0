"""Adds a batch size to the grid of a sweep that has begun."""

import copy
import os
from pathlib import Path
from typing import Any

import tomli_w

from batchscope.engine.data.validation_split import training_size
from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.preset import Preset, parse_preset, read_toml
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.networks.architectures import images_together
from batchscope.engine.planning.batch_norm import pieces, refusal
from batchscope.engine.spec import Configuration
from batchscope.engine.sweeps.store import SWEEP

KEY = "batch_size"


def with_batch_size(raw: dict[str, Any], size: int, state: SweepState) -> Preset:
    """The preset `raw` of the sweep in `state` with one more batch size in its grid.

    Every other setting of the grid is combined with it, for all seeds.

    Raises:
        UsageProblem: why it cannot be added, in a sentence.
    """
    where = f"batch size {size:,}"
    before = parse_preset(raw, "", where)
    changed = copy.deepcopy(raw)
    sizes = _sizes(changed, where)
    if size in sizes:
        raise UsageProblem(f"{where}: is there already")
    sizes.append(size)
    after = parse_preset(changed, "", where)
    new = added(after, {configuration.id for configuration in before.configurations})
    kept = [configuration for configuration in after.configurations if configuration not in new]
    if kept != list(before.configurations):
        raise UsageProblem(f"{where}: the configurations that are there would get other names")
    for configuration in new:
        _check_data(configuration, state, where)
    return after


def added(preset: Preset, known: set[str]) -> tuple[Configuration, ...]:
    """The configurations of a preset that are not known by their id."""
    return tuple(each for each in preset.configurations if each.id not in known)


def read_raw(folder: Path) -> dict[str, Any]:
    """What the sweep in `folder` is to run, as it is written down; see `load_preset`."""
    return read_toml(folder / SWEEP)


def store(folder: Path, raw: dict[str, Any]) -> None:
    """Replace what the sweep in `folder` is to run: wholly, or not at all.

    Raises:
        OSError: the disk refuses.
    """
    fresh = folder / f".{SWEEP}"
    with open(fresh, "wb") as file:
        file.write(tomli_w.dumps(raw).encode())
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / SWEEP)


def _sizes(raw: dict[str, Any], where: str) -> list[int]:
    """The list of batch sizes in the grid, put there if there is none yet."""
    grid = raw.setdefault("grid", {})
    if not grid and raw.get("cells"):
        raise UsageProblem(
            f"{where}: this experiment names its configurations one by one ([[cells]]), "
            "so there is no grid to copy from"
        )
    for table, key in ((grid, KEY), (grid, f"train.{KEY}"), (grid.get("train", {}), KEY)):
        if key in table:
            sizes: list[int] = table[key]
            return sizes
    train = raw["train"]
    grid[KEY] = [train[KEY] if raw.get("cells") else train.pop(KEY)]
    sizes = grid[KEY]
    return sizes


def _check_data(configuration: Configuration, state: SweepState, where: str) -> None:
    settings = configuration.settings
    data, size = state.data.get(settings.data.name), settings.train.batch_size
    if data is None:
        return
    images = training_size(settings.data, data.train)
    if size > images:
        raise UsageProblem(f"{where}: there are only {images:,} training images")
    asked = settings.memory.micro_batch_size
    micro, together = None if asked == "auto" else min(asked, size), images_together(settings.model)
    why = refusal(pieces(settings, size, images), micro, together)
    if why:
        raise UsageProblem(f"{where}: {why}")
