"""What an export's folder holds, and what lies beside it."""

from pathlib import Path


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def neighbours(target: Path) -> list[str]:
    """What lies beside an export: nothing half-made may stay there."""
    return sorted(path.name for path in target.parent.iterdir())
