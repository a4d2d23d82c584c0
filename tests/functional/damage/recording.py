"""Records what the campaign damages: two sweeps with all kinds of files, and an export of one.

mine.toml                            the preset of a person
config/settings.toml                 the settings of the person
home/sweeps/*-whole/                 finished: kept weights, lines, predictions, a choice
home/sweeps/*-stopped/               interrupted, with checkpoints
home/data/                           the prepared images
export/                              of the finished sweep
"""

import atexit
import functools
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.journal import column_cache
from batchscope.engine.sweeps.deletion import delete_sweep
from batchscope.engine.sweeps.launcher import ask_to_stop
from batchscope.engine.sweeps.stored_journal import reader_of
from tests.functional.lab import PATIENCE_SECONDS, Lab, until

WHOLE = """
title = "A sweep with all kinds of files"
question = "Which byte matters?"
seeds = 3
[data]
name = "digits"
validation = 0.1
[model]
name = "mlp"
hidden = [2]
[train]
lr = 0.1
epochs = 2
[grid]
batch_size = [128, 512]
[select]
lr = [0.1, 0.3]
[memory]
micro_batch_size = 128
[run]
keep_weights = true
stack = "never"
[probe]
at = [1]
draws = 4
[sharpness]
epsilon = [1e-3]
samples = 50
iterations = 2
[[cells]]
batch_size = 8
label = "one end"
lr = 0.1
[[cells]]
batch_size = 16
label = "other end"
lr = 0.3
[interpolation]
from = { label = "one end" }
to = { label = "other end" }
points = 3
samples = 50
[[claims]]
statement = "One end is as good as the other"
measure = "test_accuracy"
left = { label = "one end" }
relation = "greater"
right = { label = "other end" }
"""
STOPPED = """
title = "A sweep that was interrupted"
seeds = 1
[data]
name = "digits"
[model]
name = "mlp"
hidden = [2]
[train]
lr = 0.1
batch_size = 8
epochs = 12
[memory]
micro_batch_size = 8
"""
MINE = STOPPED.replace("batch_size = 8", "batch_size = 512").replace("epochs = 12", "epochs = 2")
SETTINGS = 'theme = "dark"\nworkers = 2\n[keys]\nhelp = "f1"\n'


@dataclass(frozen=True)
class Places:
    """The places of a recording, below `root`."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def export(self) -> Path:
        return self.root / "export"

    @property
    def preset(self) -> Path:
        return self.root / "mine.toml"

    @property
    def settings(self) -> Path:
        return self.root / "config" / "settings.toml"

    @property
    def whole(self) -> Path:
        return next((self.home / "sweeps").glob("*-whole"))

    @property
    def stopped(self) -> Path:
        return next((self.home / "sweeps").glob("*-stopped"))

    @property
    def data(self) -> Path:
        return next((self.home / "data").glob("digits-*"))


@functools.cache
def recording() -> Places:
    """Record once for all tests of this session; the files must not be changed."""
    root = Path(tempfile.mkdtemp(prefix="batchscope-damage-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    record(root)
    return Places(root)


def record(root: Path) -> None:
    """Train both sweeps in a folder, and export the finished one."""
    lab, places = Lab(root), Places(root)
    places.settings.parent.mkdir()
    places.settings.write_text(SETTINGS)
    whole = _preset(root, "whole", WHOLE)
    done = lab.run("--preset", whole, "--export", str(places.export), "--workers", "2")
    assert done.code == 0, done.err
    _interrupt(lab, root)
    places.preset.write_text(MINE)
    _write_columns(places.whole)
    shutil.rmtree(lab.cwd)


def _interrupt(lab: Lab, root: Path) -> None:
    """Train the second sweep until it has checkpoints, and stop it; longer if it is too fast."""
    pattern = f"sweeps/*-stopped/{checkpoints.TRIALS}/*/{checkpoints.PREVIOUS}"

    def caught() -> bool:
        return any(lab.home.glob(pattern))

    for factor in (1, 4, 16, 64):
        content = STOPPED.replace("epochs = 12", f"epochs = {12 * factor}")
        process = lab.start("--preset", _preset(root, "stopped", content), "--workers", "1")
        until(lambda p=process: caught() or p.poll() is not None, "there are checkpoints")  # type: ignore[misc]
        folder = Places(root).stopped
        if process.poll() is None:
            ask_to_stop(folder)
            process.wait(PATIENCE_SECONDS)
        if caught():
            break
        delete_sweep(folder)
    assert caught(), "it was stopped too late"
    lab.close()


def _preset(root: Path, name: str, content: str) -> str:
    """Write a preset where the commands of the campaign do not see it; return its path."""
    folder = root / "cwd"
    (folder / f"{name}.toml").write_text(content)
    return str(folder / f"{name}.toml")


def _write_columns(folder: Path) -> None:
    """Write the cache of a sweep whose journal is shorter than those that get one."""
    worth, column_cache.WORTH_BYTES = column_cache.WORTH_BYTES, 0
    try:
        column_cache.write(folder, reader_of(folder))
    finally:
        column_cache.WORTH_BYTES = worth
