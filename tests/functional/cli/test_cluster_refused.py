"""A cluster that cannot be used: one clear message, exit code 3, no files left behind."""

import subprocess
import sys
from pathlib import Path

import pytest

from batchscope.engine.errors import UsageProblem
from batchscope.engine.sweeps.cluster_address import check
from tests.functional.lab import Lab
from tests.messages import says

HIDDEN = """
import sys

sys.modules[sys.argv.pop(1)] = None
from batchscope.tui.cli.main import main
main()
"""


def test_the_cluster_does_not_answer(lab: Lab) -> None:
    outcome = lab.run("--export", "out", "--on", "ray://127.0.0.1:9")
    assert outcome.code == 3
    parts = "--on ray://127.0.0.1:9: | Connection refused | Ray client server (10001"
    assert says(outcome.message, parts)
    assert lab.folders() == []


@pytest.mark.parametrize(
    ("module", "on", "missing"),
    [
        ("ray", "ray", "Ray"),
        ("ray", "ray://127.0.0.1:9", "Ray"),
        ("grpc", "ray://h:1", "Ray's client"),
    ],
)
def test_ray_is_not_installed(lab: Lab, module: str, on: str, missing: str) -> None:
    if module != "ray":
        pytest.importorskip("ray", reason="Ray is not installed")
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN, module, "--export", "out", "--on", on],
        cwd=lab.cwd,
        env=lab.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, "")
    parts = f"batchscope: --on {on}: {missing} | pip install 'batchscope[ray]'"
    assert says(done.stderr, parts)
    assert lab.folders() == []


def test_no_ray_is_running(lab: Lab) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    outcome = lab.run("--export", "out", "--on", "auto", RAY_TMPDIR=str(lab.root))
    assert outcome.code == 3
    assert "--on auto: Could not find any running Ray instance" in outcome.err


@pytest.mark.parametrize("head", ["127.0.0.1:9", "ray://127.0.0.1:9"])
def test_the_cluster_in_ray_address_does_not_answer(lab: Lab, head: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    outcome = lab.run("--export", "out", "--on", "auto", RAY_ADDRESS=head)
    assert outcome.code == 3
    assert says(outcome.message, f"--on auto: | RAY_ADDRESS | {head} | Connection refused")
    assert lab.folders() == []


@pytest.mark.parametrize("on", ["", "rya", "ray://", "ray://host", "ray://host:0", "ray://h:99999"])
def test_invalid_addresses_are_rejected(on: str) -> None:
    with pytest.raises(UsageProblem, match=r"^--on .*: expected ray, auto or ray://HOST:PORT"):
        check(on)


@pytest.mark.parametrize("on", ["here", "ray", "auto", "ray://node-7.local:10001", "ray://[::1]:1"])
def test_valid_addresses_are_accepted(on: str) -> None:
    assert check(on) == on


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--gpu-share", "0.5"], "--gpu-share: | --on"),
        (["--checkpoints", "x"], "--checkpoints: | --on"),
        (["--on", "auto", "--device", "cuda:1"], "--device cuda:1: | --on | auto, cpu or cuda"),
        (
            ["--on", "auto", "--checkpoints", "nfs9://x"],
            "--checkpoints nfs9://x: | fsspec | 'nfs9'",
        ),
        (["--on", "auto", "--gpu-share", "1.5"], "argument --gpu-share: | part of a GPU | '1.5'"),
    ],
)
def test_contradictory_options(lab: Lab, words: list[str], parts: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    outcome = lab.run("--export", "out", *words)
    assert outcome.code in (2, 3)
    assert says(outcome.message, parts)


def test_a_folder_for_checkpoints_is_created(lab: Lab, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    words = ("--on", "auto", "--checkpoints", str(tmp_path / "kept"))
    outcome = lab.run("--export", "out", *words, RAY_TMPDIR=str(lab.root))
    assert outcome.code == 3
    assert (tmp_path / "kept").is_dir()
