"""A sweep on a real Ray cluster of several nodes has the results of one machine and loses none."""

import csv
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from torch import Tensor

from batchscope import __version__
from batchscope.engine.checkpoints.kept_weights import file_of
from batchscope.engine.journal import events as ev
from tests.cluster.nodes import Nodes
from tests.functional.lab import Lab, ended, events_of, state_of, until

pytestmark = [
    pytest.mark.cluster,
    # Ray leaves the logs of its processes open in whoever started them
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
PRESET = """
title = "Two solutions"
seeds = 2
[data]
name = "digits"
[model]
name = "mlp"
hidden = [8]
[train]
lr = 0.05
epochs = {epochs}
[grid]
batch_size = [16, 64]
[memory]
micro_batch_size = 16
[run]
stack = "{stack}"
keep_weights = true
[interpolation]
from = {{ batch_size = 16 }}
to = {{ batch_size = 64 }}
points = 4
"""
OTHER_VERSIONS = """
import sys
from pathlib import Path

import ray

from batchscope.engine.cluster import ray_cluster as joining
from batchscope.engine.errors import MachineProblem

place, right = Path(sys.argv[1]), ray.__version__
for version in ("0.0.1", right):
    ray.__version__, joining.__version__ = version, "9.9"
    try:
        cluster = joining.join("auto", place, joining.Terms(device="cpu"))
        import asyncio

        asyncio.run(cluster.start(0))
    except MachineProblem as problem:
        print(problem)
"""
TIMES = {
    "epoch_seconds", "samples_per_second", "seconds_to_target", "seconds", "attempt",
    "peak_memory_bytes", "warm_up_seconds", "device",
}  # fmt: skip


def preset(lab: Lab, epochs: int, stack: str = "never") -> str:
    path = lab.root / "two.toml"
    path.write_text(PRESET.format(epochs=epochs, stack=stack))
    return str(path)


def figures(folder: Path) -> dict[str, list[dict[str, str]]]:
    """Return every number of the tables that does not depend on a clock."""
    found = {}
    for name in ("trials.csv", "epochs.csv", "gradient_norms.csv", "interpolation.csv"):
        with open(folder / name) as file:
            rows = [
                {k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)
            ]
        found[name] = rows
    return found


def heard(folder: Path, kind: type[Any]) -> list[Any]:
    return [event for event in events_of(folder) if isinstance(event, kind)]


def weights(folder: Path) -> dict[str, dict[str, Tensor]]:
    """Return the final weights that a sweep kept, by trial, after checking their checksums."""
    found = {}
    for event in heard(folder, ev.WeightsKept):
        content = file_of(folder, event.trial).read_bytes()
        assert hashlib.sha256(content).hexdigest() == event.digest
        found[event.trial] = load(content)
    return found


def assert_same_weights(folder: Path, other: Path) -> None:
    one, two = weights(folder), weights(other)
    assert set(one) == set(two) == set(state_of(folder).trials)
    for trial, tensors in one.items():
        assert all(torch.equal(tensors[name], two[trial][name]) for name in tensors), trial


def node_of(folder: Path, nodes: dict[str, Any], trial: str) -> Any:
    """Return the node on which a trial was last started."""
    worker = next(e.worker for e in reversed(heard(folder, ev.TrialStarted)) if e.trial == trial)
    ready = next(e for e in reversed(heard(folder, ev.WorkerReady)) if e.worker == worker)
    return next(node for name, node in nodes.items() if name[:6] in ready.node)


def test_a_dead_node_loses_no_result(lab: Lab, nodes: Nodes) -> None:
    """The results are those of one machine, to the last bit."""
    here = lab.run("--export", "here", "--preset", preset(lab, 300), "--workers", "2")
    assert here.code == 0, here.err
    there = {node.node_id: node for node in (nodes.add(), nodes.add())}
    running = lab.start(
        *("--export", "there", "--preset", preset(lab, 300), "--on", "auto"),
        RAY_ADDRESS=nodes.address,
    )
    until(lambda: len(lab.folders()) == 2, "the second sweep was created")
    folder = lab.folders()[1]
    until(lambda: len({e.trial for e in heard(folder, ev.EpochsFinished)}) > 1, "both nodes train")
    assert len({e.node for e in heard(folder, ev.WorkerReady)}) == 2
    trial = heard(folder, ev.EpochsFinished)[-1].trial
    nodes.kill(node_of(folder, there, trial))
    nodes.add()
    outcome = ended(running)
    assert outcome.code == 0, outcome.err
    assert "is gone" in outcome.err
    assert figures(lab.cwd / "there") == figures(lab.cwd / "here")
    assert_same_weights(lab.folders()[0], folder)
    again = [e for e in heard(folder, ev.TrialStarted) if e.resumed_steps]
    assert again, "nobody went on from a checkpoint"
    assert len(heard(folder, ev.WorkerAwaited)) > 0
    assert not list((folder / "trials").glob("*")), "checkpoints of what is done are kept"


def test_from_outside_with_checkpoints_at_a_url(lab: Lab, nodes: Nodes, tmp_path: Path) -> None:
    """Replicates train as stacks, with the results of the same plan on one machine."""
    nodes.add()
    kept = tmp_path / "kept"
    outcome = lab.run(
        *("--export", "there", "--preset", preset(lab, 3, "auto"), "--json"),
        *("--on", f"ray://127.0.0.1:{nodes.client_port}", "--checkpoints", f"file://{kept}"),
    )
    assert outcome.code == 0, outcome.err
    folder = lab.only_folder()
    assert heard(folder, ev.Interpolated)[-1].points
    (left,) = kept.iterdir()
    assert len(list((left / "weights").rglob("*.pt"))) == 4, "of both ends, for both seeds"
    assert not list((left / "trials").glob("*")), "what is done needs no checkpoint"
    assert not list(left.rglob("*.safetensors")), "those are in the sweep's folder"
    again = str(lab.cwd / "there" / "sweep.toml")
    here = lab.run("--export", "here", "--preset", again, "--workers", "1")
    assert here.code == 0, here.err
    assert figures(lab.cwd / "here") == figures(lab.cwd / "there")
    assert_same_weights(folder, lab.folders()[1])
    assert lab.run("delete", folder.name, "--yes").code == 0
    assert not list(kept.iterdir())


def test_a_checkpoint_place_that_nodes_cannot_see_is_refused(lab: Lab, nodes: Nodes) -> None:
    """The URL `memory://` is separate in each process."""
    nodes.add()
    words = ("--preset", preset(lab, 1), "--on", "auto", "--checkpoints", "memory://kept")
    outcome = lab.run("--export", "there", *words, RAY_ADDRESS=nodes.address)
    assert outcome.code == 3, outcome.err
    assert "--checkpoints memory://kept" in outcome.err
    assert "Traceback" not in outcome.err


def test_different_versions_are_reported(nodes: Nodes, tmp_path: Path) -> None:
    nodes.add()
    done = subprocess.run(
        [sys.executable, "-c", OTHER_VERSIONS, str(tmp_path)],
        env={**os.environ, "RAY_ADDRESS": nodes.address},
        capture_output=True,
        text=True,
        check=False,
    )
    ray, ours = done.stdout.splitlines()
    assert ray.startswith("--on auto: Version mismatch: The cluster was started with")
    assert "0.0.1" in ray
    assert ours.startswith("node ")
    assert f"batchscope {__version__}" in ours
    assert "9.9" in ours


def test_workers_of_one_trial_share_a_node(lab: Lab, nodes: Nodes) -> None:
    nodes.add(cpus=2)
    words = ("--preset", preset(lab, 2), "--set", "run.data_parallel=2", "--set", "seeds=1")
    there = lab.run("--export", "there", *words, "--on", "auto", RAY_ADDRESS=nodes.address)
    assert there.code == 0, there.err
    here = lab.run("--export", "here", *words)
    assert here.code == 0, here.err
    assert figures(lab.cwd / "there") == figures(lab.cwd / "here")
    workers = {e.worker for e in heard(lab.folders()[0], ev.WorkerReady)}
    assert len(workers) <= 2, "one at a time on two CPUs, and one more that waited for them"
