"""A task of a person's own is killed at 20 random moments, and gives the same bits."""

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from batchscope.engine.export.bundle import write_export
from batchscope.engine.sweeps.launcher import start_conductor
from batchscope.engine.sweeps.store import conductor_lives
from batchscope.engine.sweeps.trust import trust
from tests.functional.crash_campaign import TABLES, Campaign, Table, create, tables, wait
from tests.functional.lab import needs_no_gpu

TOKENS = Path(__file__).parents[3] / "examples" / "tokens" / "task.py"
PRESET = """
title = "Tokens, to be broken off"
seeds = 2
[task]
use = "task:make"
validation = 0.1
loaders = {loaders}
[train]
lr = 0.01
epochs = {epochs}
[probe]
at = [0.3, 1]
draws = 30
[[cells]]
batch_size = 8
optimizer = "adam"
[[cells]]
batch_size = 60
optimizer = "momentum"
memory.micro_batch_size = 25
"""
EPOCHS, KILLS, LONGEST_SECONDS = 20, 20, 0.8
pytestmark = [
    pytest.mark.campaign,
    needs_no_gpu,
    # a conductor goes on without the process that has started it
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def preset(root: Path, loaders: int) -> Path:
    """Write a preset beside the task; return it."""
    (root / "home").mkdir(parents=True, exist_ok=True)
    shutil.copy(TOKENS, root)
    path = root / "tokens.toml"
    path.write_text(PRESET.format(loaders=loaders, epochs=EPOCHS))
    trust(root / "home", root)
    return path


def exported(folder: Path, target: Path) -> dict[str, Table]:
    write_export(folder, target, report=False)
    return tables(target, TABLES)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Table]:
    """The tables of a sweep without faults and without loader processes."""
    root = tmp_path_factory.mktemp("undisturbed")
    folder = create(root / "home", preset(root, 0))
    start_conductor(folder)
    wait(lambda: not conductor_lives(folder), "the undisturbed sweep has ended")
    return exported(folder, root / "export")


class Killed(Campaign):
    """A sweep whose conductor, workers and loaders are killed."""

    killed_loaders = 0

    def _fault(self) -> None:
        found = list(self._loaders())
        if found and self.random.random() < 0.3:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.random.choice(found), signal.SIGKILL)
                self.killed_loaders += 1
                self.tally.faults["loader"] += 1
            return
        super()._fault()

    def _loaders(self) -> Iterator[int]:
        for worker in self._processes()[1]:
            with contextlib.suppress(psutil.Error):
                yield from (child.pid for child in psutil.Process(worker).children())


@pytest.mark.parametrize("loaders", [0, 2])
def test_the_same_bits_after_20_kills(
    loaders: int, tmp_path: Path, expected: dict[str, Table]
) -> None:
    sweep = Killed(tmp_path / "home", preset(tmp_path, loaders), seed=loaders)
    try:
        tally = sweep.run(KILLS, LONGEST_SECONDS)
    finally:
        sweep.close()
    assert tally.faults.total() >= KILLS
    assert tally.resumed
    assert not tally.run_twice
    assert bool(sweep.killed_loaders) == bool(loaders)
    assert exported(sweep.folder, tmp_path / "export") == expected
    assert not list(sweep._loaders())
