"""Reads the listings of `docs/reproduce.md`, which use plain torch and nothing of batchscope."""

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "reproduce.md"


def code_of(name: str) -> str:
    """Return the code of the listing with this name."""
    pattern = rf"<!-- listing: {re.escape(name)} -->\n```python\n(.*?)```"
    (code,) = re.findall(pattern, PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert "batchscope" not in code
    return str(code)


def listing(name: str) -> dict[str, Any]:
    """Execute a listing as a module, and return its globals."""
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(code_of(name), f"{PAGE}: {name}", "exec"), names)
    return names
