"""Runs the command as another user of this machine, in processes of that user."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOWHERE = "/nonexistent"


@functools.cache
def _command() -> tuple[str, ...]:
    """The words that run the program where others may execute Python; empty if there are none.

    This Python may be in a folder of root that nobody else may enter. The same version of the
    system's can use its packages.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/python{version}"):
        words = (python, "-P", "-m", "batchscope")
        if Path(python).exists():
            try:
                done = _run(65534, *words, "--version")
            except PermissionError:
                continue
            if done.returncode == 0:
                return words
    return ()


def as_user(user: int, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run the command as the user and the group of that number; skip the test if none can be."""
    if not _command():
        pytest.skip("no Python of this version can be run by other users")
    return _run(user, *_command(), *words)


def _run(user: int, *words: str) -> "subprocess.CompletedProcess[str]":
    packages = [path for path in sys.path if Path(path, "batchscope").is_dir()]
    packages += [path for path in sys.path if path.endswith("site-packages")]
    return subprocess.run(
        words,
        user=user,
        group=user,
        extra_groups=[],
        cwd="/",
        env={
            "PATH": os.defpath,
            "HOME": NOWHERE,
            "PYTHONPATH": os.pathsep.join(packages),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
