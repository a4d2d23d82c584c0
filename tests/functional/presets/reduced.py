"""Shipped presets in a reduced form: digits, few epochs, narrow networks."""

from batchscope.engine.experiment.preset_catalog import find_preset
from batchscope.engine.experiment.toml_literal import literal

SEEDS = {"bias-variance": 3}
"""Two seeds are enough elsewhere; error is parted over three."""
NARROW = "model.width=0.02"
FEWER_DRAWS = ("probe.draws=20", "probe.pair_draws=10")


def seeds_of(name: str) -> int:
    """How many seeds an experiment is tried with."""
    return SEEDS.get(name, 2)


def assignments(name: str, epochs: int = 1) -> list[str]:
    """An experiment made small enough to be tried, as assignments of `--set`."""
    raw = find_preset(name).raw
    # cells set two epochs where they set any, so that a warmup ends within the budget
    fewer = {"epochs": 2 * epochs, "warmup_epochs": 0.5}
    found = ["data.name=digits", f"train.epochs={epochs}", f"seeds={seeds_of(name)}"]
    found += FEWER_DRAWS if raw.get("probe") else ()
    if "width" in raw.get("model", {}):
        found.append(NARROW)
    if "select" in raw:
        found.append(f"select.seeds_after={seeds_of(name)}")
    cells = [
        {key: fewer.get(key, value) for key, value in cell.items()} for cell in raw.get("cells", [])
    ]
    if cells != raw.get("cells", []):
        found.append(f"cells={literal(cells)}")
    return found


def reduced(name: str) -> list[str]:
    """The assignments as words of a command."""
    return [part for assignment in assignments(name) for part in ("--set", assignment)]
