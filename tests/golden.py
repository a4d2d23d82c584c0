"""Compares what a surface says with the file in `tests/golden/` that holds its prose.

`BATCHSCOPE_UPDATE_GOLDEN=1 python -m pytest …` writes the files anew, to be read in the diff.
"""

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def check(surface: str, text: str) -> None:
    """Assert that a surface (`screens`, `log`, `report`, `messages`) says what its file holds."""
    path = FOLDER / f"{surface}.txt"
    text = text.rstrip("\n") + "\n"
    if os.environ.get("BATCHSCOPE_UPDATE_GOLDEN"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path} holds other words"
