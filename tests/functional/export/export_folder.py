"""Reads the content of an export folder and of the folder around it."""

from pathlib import Path


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def neighbours(target: Path) -> list[str]:
    """Return the names next to an export; nothing incomplete may remain there."""
    return sorted(path.name for path in target.parent.iterdir())
