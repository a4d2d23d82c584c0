"""Mounts folders that behave as network file systems do."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.functional.places.network_rules import RULES

SERVER = str(Path(__file__).with_name("network_server.py"))


@contextlib.contextmanager
def network_folder(place: Path, *rules: str) -> Iterator[Path | None]:
    """Mount an empty folder that breaks these rules, and yield it; None if that is impossible."""
    assert set(rules) <= RULES.keys()
    source, target = place / "source", place / "mounted"
    for folder in (source, target):
        folder.mkdir(parents=True)
    words = [sys.executable, "-P", SERVER, str(source), str(target), *rules]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            yield target if server.stdout.readline() else None
        finally:
            subprocess.run(["umount", "-l", str(target)], check=False, capture_output=True)
            server.terminate()
