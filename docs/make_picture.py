"""Draws docs/board.svg: the board of a stored sweep, as Textual's SVG screenshot.

    python docs/make_picture.py [FOLDER]

FOLDER is the folder of a stored sweep; without one, `quickstart` is run for the picture.
"""

import asyncio
import os
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "board.svg"
SIZE = (120, 36)
PATIENCE_SECONDS = 600

sys.path.insert(0, str(ROOT / "src"))


def run_quickstart(home: Path) -> Path:
    """Run the default preset to its end; returns its folder."""
    from batchscope.engine.experiment.preset_catalog import find_preset
    from batchscope.engine.sweeps.launcher import start_conductor, wait_until_free
    from batchscope.engine.sweeps.store import Launch, create_sweep, home_folder

    home_folder(str(home))
    folder = create_sweep(home, find_preset("quickstart"), Launch(preset="quickstart"))
    start_conductor(folder)
    if not wait_until_free(folder, PATIENCE_SECONDS):
        raise SystemExit(f"quickstart did not end within {PATIENCE_SECONDS} s")
    return folder


async def draw(folder: Path) -> str:
    """The board on a sweep, as SVG."""
    from batchscope.tui.app import BatchscopeApp
    from batchscope.tui.screens.board import BoardScreen

    app = BatchscopeApp(folder.parent.parent, sweep=folder)
    async with app.run_test(size=SIZE) as pilot:
        board = app.screen
        assert isinstance(board, BoardScreen)
        while not board.view.loaded:
            await pilot.pause(0.05)
        await pilot.press("t")  # no train curves: a still picture is read from afar
        await pilot.pause()
        picture = app.export_screenshot(title="batchscope")
    return re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL)  # fonts of another host


def main() -> None:
    """Find or make the sweep, draw it, write the picture."""
    os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
    os.environ.pop("NO_COLOR", None)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(sys.argv[1]).resolve() if sys.argv[1:] else run_quickstart(Path(home))
        PICTURE.write_text(asyncio.run(draw(folder)), encoding="utf-8")
    print(PICTURE.relative_to(ROOT))


if __name__ == "__main__":
    main()
