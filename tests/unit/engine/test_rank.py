"""A further worker of a trial, as the process that it is."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a card that cannot be made current")
def test_its_card_is_current_before_it_is_ready_to_meet(tmp_path: Path) -> None:
    """With a card that it cannot have it never says that it is ready."""
    meeting = f"file://{tmp_path / 'meeting'}"
    command = [sys.executable, "-P", "-m", "batchscope.engine.rank", meeting, "1", "2", "cuda:1"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as rank:
        assert rank.wait(timeout=60) == 1  # it would also end with its stdin
        assert rank.stdout is not None
        assert rank.stderr is not None
        assert rank.stdout.read() == ""
        assert "set_device" in rank.stderr.read()
