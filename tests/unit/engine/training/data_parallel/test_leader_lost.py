"""A data-parallel trial with a worker that freezes."""

import os
import signal
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
import torch

from batchscope.engine.planning.plan import make_plan
from batchscope.engine.processes import rank_processes
from batchscope.engine.processes.orders import TeamSpec
from batchscope.engine.training.batches import load_images
from batchscope.engine.training.data_parallel import exchange
from batchscope.engine.training.data_parallel.exchange import TeamLost
from batchscope.engine.training.data_parallel.leader import start_team
from batchscope.engine.training.trainer.train_step import Stepper
from tests.unit.engine.data_parallel_fixtures import over
from tests.unit.training_fixtures import CPU, synthetic


def test_a_frozen_worker_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process is ended, although it does not answer."""
    monkeypatch.setattr(exchange, "PATIENCE", timedelta(seconds=3))
    monkeypatch.setattr(rank_processes, "PATIENCE_SECONDS", 0.1)
    data = synthetic(tmp_path, train=20, test=10)
    images, trial, batch = load_images(data, CPU), over(2, 16), torch.arange(16).unsqueeze(0)
    plan = make_plan(trial, 20, threads=1)
    before = set(psutil.Process().children())
    team = start_team(2, TeamSpec(), "cpu")
    (other,) = set(psutil.Process().children()) - before
    team.begin(trial, plan, data)
    stepper = Stepper((trial,), plan, images, CPU, team)
    stepper.gradient(batch)
    os.kill(other.pid, signal.SIGSTOP)
    with pytest.raises(TeamLost, match=r"[Tt]imed out"):
        stepper.gradient(batch)
    team.broken = True
    team.end()
    assert not other.is_running()
