"""A sweep that is broken at random moments ends as one that was left in peace."""

import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).parents[3] / "benchmarks" / "crashes.py"


@pytest.mark.campaign
def test_whatever_is_killed_frozen_or_torn_nothing_is_lost_and_the_bits_are_the_same() -> None:
    """A short campaign; it runs as long as one likes by hand."""
    words = ["--faults", "6", "--each", "6", "--epochs", "80", "--repeats", "1"]
    done = subprocess.run(
        [sys.executable, str(CAMPAIGN), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "'lost_epochs': 0, 'run_twice': 0}" in done.stdout
