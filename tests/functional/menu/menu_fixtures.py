"""Presets of known content, and a menu that has found what is stored."""

from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.functional.boards import part, until

SMALL = (80, 24)
HOSTILE = "[red]x[/] \\u001b]0;pwn\\u0007"
PRESET = """
title = "{title}"
question = "{question}"
source = "Shen 2018"
group = "{group}"
seeds = 2
[data]
name = "mnist"
[model]
name = "cnn"
[train]
lr = 0.1
epochs = 3
[grid]
batch_size = [16, 1024]
"""


@pytest.fixture
def presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Presets of known content: the default, another one, and one that is broken."""
    folder = tmp_path / "presets"
    folder.mkdir()
    first = PRESET.format(title="The first one", question="Does it run?", group="sizes")
    (folder / "quickstart.toml").write_text(first.replace("mnist", "digits"))
    other = PRESET.format(
        title="Large batches", question="Does a larger batch learn less?", group="generalization"
    )
    (folder / "large.toml").write_text(other)
    (folder / "broken.toml").write_text("title = 'Broken'\nbatch = 3\n")
    found = {path.stem: path for path in sorted(folder.glob("*.toml"))}
    monkeypatch.setattr("batchscope.engine.experiment.preset_folders.preset_files", lambda: found)
    monkeypatch.setenv("BATCHSCOPE_CONFIG", str(tmp_path / "config" / "settings.toml"))
    monkeypatch.setattr("batchscope.tui.screens.menu_entries.cores", lambda: 2)
    return found


async def listed(pilot: Pilot[str]) -> None:
    """Wait until the stored sweeps are there."""

    def there() -> bool:
        shown = part(pilot.app, "picker")
        return "quickstart" in shown and "loading" not in shown

    await until(pilot, there)
