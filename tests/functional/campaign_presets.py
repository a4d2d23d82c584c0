"""The presets of the campaign: all shipped ones in a reduced form, and other kinds."""

from pathlib import Path

import tomli_w

from batchscope.engine.experiment.preset_catalog import find_preset, preset_files
from tests.functional.presets.reduced import assignments

EPOCHS, FEWEST = 6, 1
FRAME = """
title = "For the campaign"
seeds = {seeds}
[data]
name = "digits"
[model]
name = "mlp"
hidden = [16]
[train]
batch_size = 60
lr = 0.02
{train}
[memory]
micro_batch_size = 30
[run]
{run}
"""
OWN = {
    "team": FRAME.format(
        seeds=2, train='epochs = 10\noptimizer = "momentum"', run="data_parallel = 2"
    ),
    "team-of-three": FRAME.format(
        seeds=2, train='epochs = 4\noptimizer = "adam"', run="data_parallel = 3"
    ),
    "bf16": FRAME.format(seeds=3, train='epochs = 40\nprecision = "bf16"', run='stack = "never"'),
    "seconds": FRAME.format(seeds=3, train="seconds = 2.0", run='stack = "never"'),
    "stacked": FRAME.format(seeds=4, train="epochs = 60", run="stack = 4"),
    "limited": FRAME.format(seeds=3, train="epochs = 60", run='stack = "never"'),
    "kept": FRAME.format(
        seeds=3, train='epochs = 60\nsampling = "with-replacement"', run="keep_weights = true"
    ),
}
TIMED = ("seconds",)
"""Those whose results depend on the machine."""
PRESETS = [name for pair in zip(sorted(preset_files()), [*OWN] * 4, strict=False) for name in pair]
"""In turn one of the shipped ones and one of these, so that all kinds come up early."""


def is_alone(name: str) -> bool:
    """Return whether epochs of a preset are timed alone, by one worker with a thread per core."""
    return name not in OWN and find_preset(name).raw.get("run", {}).get("timing") == "alone"


def preset_of(name: str, folder: Path) -> Path:
    """Write a preset into a folder; return its file."""
    path = folder / f"{name}.toml"
    if name in OWN:
        path.write_text(OWN[name])
    else:
        narrow = ["model.hidden=[16]"] if find_preset(name).raw["model"].get("hidden") else []
        epochs = FEWEST if is_alone(name) else EPOCHS
        found = find_preset(name, [*assignments(name, epochs), *narrow])
        path.write_bytes(tomli_w.dumps({"name": name, **found.raw}).encode())
    return path
