"""Adds a batch size to the grid of a started sweep."""

import copy
from typing import Any

from batchscope.engine.data.validation_split import training_size
from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.preset import Preset, parse_preset
from batchscope.engine.experiment.warmup_check import refuse_unreached
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.networks.architectures import images_together
from batchscope.engine.planning.batch_norm import pieces, refusal
from batchscope.engine.schedule.reached_rate import never_reached
from batchscope.engine.spec import Configuration

KEY = "batch_size"


def with_batch_size(raw: dict[str, Any], size: int, state: SweepState) -> Preset:
    """Return the sweep's preset with one more batch size in its grid.

    The new batch size is combined with every other setting of the grid and with all seeds.

    Args:
        raw: the content of the sweep's preset.
        size: the batch size to add, in images.
        state: the sweep's state.

    Raises:
        UsageProblem: it cannot be added; the message says why.
    """
    where = f"batch size {size:,}"
    before = parse_preset(raw, "", where, stored=True)
    changed = copy.deepcopy(raw)
    sizes = _sizes(changed, where)
    if size in sizes:
        raise UsageProblem(f"{where}: already in the grid")
    sizes.append(size)
    after = parse_preset(changed, "", where, stored=True)
    new = added(after, {configuration.id for configuration in before.configurations})
    kept = [configuration for configuration in after.configurations if configuration not in new]
    if kept != list(before.configurations):
        raise UsageProblem(
            f"{where}: cannot be added, because existing configurations would be renamed"
        )
    refuse_unreached(new, where)
    for configuration in new:
        _check_data(configuration, state, where)
    return after


def added(preset: Preset, known: set[str]) -> tuple[Configuration, ...]:
    """Return the configurations of a preset that have no id in `known`."""
    return tuple(each for each in preset.configurations if each.id not in known)


def _sizes(raw: dict[str, Any], where: str) -> list[int]:
    """Return the list of batch sizes in the grid, after adding the list if there is none."""
    grid = raw.setdefault("grid", {})
    if not grid and raw.get("cells"):
        raise UsageProblem(
            f"{where}: cannot be added, because this preset has [[cells]] and no [grid]"
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
        raise UsageProblem(f"{where}: larger than the training set of {images:,} images")
    wanted = settings.memory.micro_batch_size
    micro = None if wanted == "auto" else min(wanted, size)
    together = images_together(settings.model)
    why = refusal(pieces(settings, images), micro, together) or never_reached(settings, images)
    if why:
        raise UsageProblem(f"{where}: {why}")
