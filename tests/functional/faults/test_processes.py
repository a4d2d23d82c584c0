"""Every kind of process may be taken away, or what it needs, and nothing is lost."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.functional.campaign_presets import OWN, PRESETS

ROOT = Path(__file__).parents[3]
BRIEF = ("quickstart", "team", "bf16", "stacked")
pytestmark = pytest.mark.campaign


def test_ten_faults_lose_nothing_and_change_no_bit() -> None:
    """A short campaign; `python -m tests.functional.process_campaign` runs longer ones."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.functional.process_campaign"),
            *("--faults", "10", "--each", "4", "--minutes", "8", "--seed", "2"),
            *(word for name in BRIEF for word in ("--only", name)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "with the same bits" in done.stdout


def test_presets_of_all_kinds_come_up() -> None:
    assert set(OWN) < set(PRESETS)
    assert len(set(PRESETS)) == 22 + len(OWN)
