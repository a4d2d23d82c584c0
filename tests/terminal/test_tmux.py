"""Inside a real tmux of 80 × 24 cells and few colours: every pane by its key, and a lost server."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.lab import until
from tests.terminal.terminals import COMMAND, PATIENCE_SECONDS

SWEEP = (
    'title = "Under tmux"\nquestion = "Is it there?"\n[data]\nname = "digits"\n[model]\n'
    'name = "mlp"\n[train]\nlr = 0.1\nepochs = 400\n[grid]\nbatch_size = [64, 256]\n'
    '[[claims]]\nstatement = "Accuracy falls"\nmeasure = "test_accuracy"\n'
    'trend = "decreasing"\nover = "batch_size"\n'
)
PANES = {
    "1": "over epochs",
    "2": "÷ speedup",
    "3": "this sweep █",
    "4": "gradient norm",
    "5": "64 s0",
    "6": "[95 % interval], n seeds",
    "7": "newest at the bottom",
}

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


class Tmux:
    """A tmux server of its own, with one pane of 80 × 24."""

    def __init__(self, socket: Path, *command: str) -> None:
        self._base = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        words = ["env", "TERM=screen", "LC_ALL=C.UTF-8", *command]
        self.call("new-session", "-d", "-x", "80", "-y", "24", *words)

    def call(self, *words: str) -> str:
        done = subprocess.run([*self._base, *words], capture_output=True, text=True, check=True)
        return done.stdout

    @property
    def text(self) -> str:
        """What the pane shows."""
        return self.call("capture-pane", "-p")

    def press(self, key: str) -> None:
        self.call("send-keys", key)

    def wait_for(self, *words: str) -> str:
        """The pane once it shows all of these words."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not all(word in self.text for word in words):
            assert time.monotonic() < deadline, f"waiting for {words}; it shows:\n{self.text}"
            time.sleep(0.05)
        return self.text

    def kill(self) -> None:
        """End the server and all in it."""
        subprocess.run([*self._base, "kill-server"], capture_output=True, check=False)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home whose sweeps do not outlive the test."""
    yield tmp_path / "home"
    subprocess.run([COMMAND, "stop", "--all", "--home", str(tmp_path / "home")], check=True)


@pytest.mark.campaign
def test_every_pane_and_a_server_that_dies(tmp_path: Path, home: Path) -> None:
    preset = tmp_path / "tmux.toml"
    preset.write_text(SWEEP)
    tmux = Tmux(tmp_path / "first", COMMAND, "--preset", str(preset), "--home", str(home))
    try:
        tmux.wait_for("running", "Is it there?")
        for key, words in PANES.items():
            if key != "1":
                tmux.press(key)
            shown = tmux.wait_for(words)
            assert all(len(line) <= 80 for line in shown.splitlines())
    finally:
        tmux.kill()
    (folder,) = (home / "sweeps").iterdir()
    attached = Tmux(tmp_path / "second", COMMAND, "attach", folder.name, "--home", str(home))
    try:
        attached.wait_for("Is it there?", "finished in")
        attached.press("q")
        until(lambda: not lives(attached), "the board has left")
    finally:
        attached.kill()


def lives(tmux: Tmux) -> bool:
    """Whether the server still has its pane."""
    try:
        return bool(tmux.call("list-panes"))
    except subprocess.CalledProcessError:
        return False
