"""Over a real SSH connection that is killed in the middle of a sweep."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.functional.lab import until
from tests.terminal.ssh import Sshd, missing
from tests.terminal.terminals import COMMAND, Terminal

SWEEP = (
    'title = "Far away"\nquestion = "Does it go on?"\nseeds = 2\n[data]\nname = "digits"\n'
    '[model]\nname = "mlp"\n[train]\nlr = 0.1\nepochs = 300\n[grid]\nbatch_size = [32, 128]\n'
)

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    server = Sshd(tmp_path)
    yield server
    server.close()


def viewers(home: Path) -> list[psutil.Process]:
    """The boards that look at sweeps of this home."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if COMMAND in words and str(home) in words:
            found.append(process)
    return found


@pytest.mark.campaign
def test_a_killed_connection_costs_the_sweep_nothing(sshd: Sshd, tmp_path: Path) -> None:
    home, preset = tmp_path / "home", tmp_path / "far.toml"
    preset.write_text(SWEEP)
    begin = sshd.words(COMMAND, "--preset", str(preset), "--home", str(home))
    with Terminal(*begin, command="ssh") as terminal:
        terminal.wait_for("running", "Does it go on?")
        assert viewers(home)
        assert sshd.drop() > 0
        assert terminal.wait_for_exit() == 255  # ssh's own: the connection broke
    until(lambda: not viewers(home), "the board ends with its line")
    with Terminal(*sshd.words(COMMAND, "attach", "--home", str(home)), command="ssh") as terminal:
        terminal.wait_for("Does it go on?", "finished in")
        terminal.press("5")
        terminal.wait_for("4/4")
        terminal.press("q")
        assert terminal.wait_for_exit() == 0
    listed = subprocess.run(
        [COMMAND, "list", "--json", "--home", str(home)], capture_output=True, check=True
    )
    (sweep,) = json.loads(listed.stdout)
    assert (sweep["state"], sweep["finished"], sweep["trials"]) == ("finished", 4, 4)
