"""A sweep with faults at random moments has the same results as one without."""

import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).parents[3] / "benchmarks" / "crashes.py"


@pytest.mark.campaign
def test_random_faults_lose_nothing_and_change_no_bit() -> None:
    """A short campaign; `benchmarks/crashes.py` runs longer ones."""
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
