"""Run the commands of README and tutorial, one block after another.

A block of `sh` may have comments right above it:

- `<!-- not run: WHY -->`: the block is not run.
- `<!-- screen: WORDS | KEYS -->`: each line opens a screen. Once it shows the words, the keys are
  pressed; the last key leaves the screen.
- `<!-- reduced: KEY=VALUE ... -->`: added as `--set` to lines with a `--preset`, to save time.
- `<!-- then: the sweep is killed -->`: the conductor is killed afterwards, as in a crash.

`ID` is replaced by the newest stored sweep, and a second `ID` in a line by the one before.
"""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from batchscope.engine.sweeps.store import conductor_lives
from tests.functional.lab import COMMAND, Lab, conductor_of, until
from tests.terminal.terminals import Terminal

ROOT = Path(__file__).parents[3]
PAGES = ("docs/tutorial.md", "README.md")
BLOCK = re.compile(r"((?:^<!-- .*? -->\n)*)^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
REMARK = re.compile(r"<!-- ([a-z ]+): (.*?) -->")
KNOWN = {"not run", "screen", "reduced", "then"}


class Block(NamedTuple):
    """A block of commands, with the comments above it."""

    said: dict[str, str]
    text: str

    @property
    def lines(self) -> list[str]:
        """The commands, without their comments."""
        return [line.split("  #")[0].strip() for line in self.text.splitlines()]


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(dict(REMARK.findall(above)), inside) for above, inside in BLOCK.findall(text)]


@pytest.fixture
def place(lab: Lab) -> Iterator[Lab]:
    """A folder with the parts of a checkout that the pages use."""
    shutil.copytree(ROOT / "presets", lab.cwd / "presets")
    yield lab
    lab.run("stop", "--all")


def named(lab: Lab, text: str) -> str:
    """Replace `ID` by the ids of stored sweeps."""
    lines = []
    for line in text.splitlines():
        newest = [folder.name for folder in reversed(lab.folders())]
        for name in newest:
            line = re.sub(r"\bID\b", name, line, count=1)
        lines.append(line)
    return "\n".join(lines)


def reduced(line: str, block: Block) -> str:
    sets = " ".join(f"--set '{each}'" for each in block.said.get("reduced", "").split())
    return f"{line.split('  #')[0]} {sets}" if sets and "--preset" in line else line


def run(lab: Lab, block: Block) -> None:
    text = named(lab, "\n".join(reduced(line, block) for line in block.text.splitlines()))
    path = f"{Path(COMMAND).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=lab.cwd,
        env=lab.environment(PATH=path),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


def show(lab: Lab, block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open a screen for each line, and leave it."""
    words, _, keys = block.said["screen"].partition(" | ")
    monkeypatch.chdir(lab.cwd)
    for line in block.lines:
        told = subprocess.run(
            ["bash", "-c", f"printf '%s\\n' {named(lab, reduced(line, block))}"],
            capture_output=True,
            text=True,
            check=True,
        )
        command, *arguments = told.stdout.splitlines()
        assert command == "batchscope"
        with Terminal(*arguments, BATCHSCOPE_HOME=str(lab.home)) as terminal:
            terminal.wait_for(*words.split(", "))
            for key in keys.split():
                terminal.settle(2)
                terminal.press(key)
            assert terminal.wait_for_exit() == 0, terminal.text


def kill(lab: Lab) -> None:
    folder = lab.folders()[-1]
    assert conductor_lives(folder)
    os.kill(conductor_of(folder), signal.SIGKILL)
    until(lambda: not conductor_lives(folder), "it is gone")


@pytest.mark.campaign
@pytest.mark.parametrize("page", PAGES)
def test_every_command_runs(place: Lab, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in blocks(page):
        assert set(block.said) <= KNOWN, block.said
        if "not run" in block.said:
            continue
        if "screen" in block.said:
            show(place, block, monkeypatch)
        else:
            run(place, block)
        if block.said.get("then") == "the sweep is killed":
            kill(place)


@pytest.mark.parametrize("page", PAGES)
def test_only_installations_and_other_hosts_are_not_run(page: str) -> None:
    left = [block for block in blocks(page) if "not run" in block.said]
    assert all(block.said["not run"] for block in left)
    assert all("batchscope --" not in block.text or "pip install" in block.text for block in left)
    assert len(blocks(page)) > len(left)


def test_all_commands_are_in_sh_fences() -> None:
    for page in PAGES:
        fences = re.findall(r"^```(\w*)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert set(fences[::2]) <= {"sh", "toml", "python"}
        assert set(fences[1::2]) == {""}
