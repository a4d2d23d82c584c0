"""`python -m batchscope` is the command line."""

import subprocess
import sys

from batchscope import __version__
from tests.functional.lab import Lab
from tests.messages import says


def module(lab: Lab, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "batchscope", *words],
        cwd=lab.cwd,
        env=lab.environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_prints_what_the_command_prints(lab: Lab) -> None:
    done = module(lab, "--version")
    assert (done.returncode, done.stdout) == (0, f"batchscope {__version__}\n")
    assert module(lab, "presets").stdout == lab.run("presets").out
    assert module(lab, "--help").stdout == lab.run("--help").out


def test_its_exit_code_is_that_of_the_command(lab: Lab) -> None:
    done = module(lab, "--exprot", "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert says(done.stderr, "batchscope: | --exprot | did you mean '--export'?")
