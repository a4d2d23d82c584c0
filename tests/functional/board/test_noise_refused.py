"""With batch norm there is no gradient noise scale, and the board says why."""

from batchscope.tui.app import BatchscopeApp
from batchscope.tui.viewmodel.quantities import QUANTITIES
from tests.functional.boards import loaded, part, still
from tests.functional.lab import Lab

__all__ = ["still"]

PRESET = """\
title = "Normalized"
[data]
name = "digits"
[model]
name = "mlp"
hidden = [16]
batch_norm = true
[train]
batch_size = 64
lr = 0.1
epochs = 2
"""


async def test_the_board_says_why_there_is_no_noise_scale(lab: Lab) -> None:
    preset = lab.root / "normalized.toml"
    preset.write_text(PRESET)
    outcome = lab.run("--preset", str(preset), "--export", str(lab.root / "out"))
    assert outcome.code == 0, outcome.err
    (folder,) = lab.folders()
    app = BatchscopeApp(folder.parent.parent, sweep=folder)
    async with app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot)
        for _ in range(2 * len(QUANTITIES)):
            if "noise scale" in part(app, "pane-curves"):
                break
            await pilot.press("Y")
        await pilot.press("1")
        shown = " ".join(part(app, "pane-curves").split())
        assert "no gradient noise scale" in shown.lower()
        assert "batch norm" in shown
