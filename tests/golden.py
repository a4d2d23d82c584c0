"""Compares the texts of a surface with its golden file in `tests/golden/`.

`BATCHSCOPE_UPDATE_GOLDEN=1 python -m pytest …` rewrites the files; review the diff.
"""

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def check(surface: str, text: str) -> None:
    """Assert that the text of a surface (`screens`, `log`, `report`, …) equals its file."""
    path = FOLDER / f"{surface}.txt"
    text = text.rstrip("\n") + "\n"
    if os.environ.get("BATCHSCOPE_UPDATE_GOLDEN"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path} holds other words"
