"""Shell completion: called as a shell calls it, and through a real bash."""

import os
import subprocess
from argparse import Namespace
from pathlib import Path

import pytest

from batchscope.tui.cli.setting_completion import completions
from tests.functional.board_fixtures import finished_sweep
from tests.functional.lab import COMMAND

ASK = """
eval "$(batchscope completion bash)"
COMP_TYPE=9 COMP_WORDBREAKS=$' \\t\\n"><=;|&(:'
_python_argcomplete batchscope
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a finished sweep."""
    return finished_sweep(tmp_path / "home").parent.parent


def completed(line: str, home: Path, cwd: Path) -> set[str]:
    """What bash offers at the end of a line."""
    folder = str(Path(COMMAND).parent)
    environment = {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "BATCHSCOPE_HOME": str(home),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    done = subprocess.run(
        ["bash", "-c", ASK], cwd=cwd, env=environment, capture_output=True, encoding="utf-8",
        check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return {word.strip() for word in done.stdout.split("\n") if word.strip()}


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("batchscope att", {"attach"}),
        ("batchscope --the", {"--theme"}),
        ("batchscope --qui", {"--quiet"}),
        ("batchscope --tens", {"--tensorboard"}),
        ("batchscope resume --js", {"--json"}),
        ("batchscope --theme co", {"colour-blind", "contrast"}),
        ("batchscope attach --theme da", {"dark"}),
        ("batchscope --preset quick", {"quickstart"}),
        ("batchscope --preset ow", {"own.toml"}),
        ("batchscope attach ", {"20270115-080000-quickstart"}),
        ("batchscope --sweep 2027", {"20270115-080000-quickstart"}),
        ("batchscope completion z", {"zsh"}),
        ("batchscope --set train.opt", {"train.optimizer="}),
        ("batchscope --on ra", {"ray", "ray://"}),
        ("batchscope --data-dir im", {"images/"}),
    ],
)
def test_bash_completes(line: str, offered: set[str], home: Path, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("")
    (tmp_path / "images").mkdir()
    found = completed(line, home, tmp_path)
    assert offered <= found
    assert all(word.startswith(line.rpartition(" ")[2]) for word in found)


OWN = """title = "x"
[task]
use = "mine:make"
[train]
lr = 0.25
batch_size = 8
steps = 3
[grid]
batch_size = [8, 16]
"""
MINE = "def make(seed, width=64):\n    ...\n"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("--set data.name=", {"cifar10", "digits", "fashion-mnist", "mnist"}),
        ("--set train.optimizer=ada", {"adagrad", "adam", "adamw"}),
        ("--set model.batch_norm=", {"true", "false"}),
        ("--preset own.toml --set train.lr=", {"0.25"}),
        ("--preset own.toml --set task.arguments.wi", {"task.arguments.width="}),
        ("--preset own.toml --set task.arguments.width=", {"64"}),
        ("--preset gone.toml --set train.l", set()),
        ("--set no.such=", set()),
    ],
)
def test_bash_completes_settings(words: str, offered: set[str], home: Path, tmp_path: Path) -> None:
    """Bash takes what follows an equals sign for a word of its own."""
    (tmp_path / "own.toml").write_text(OWN)
    (tmp_path / "mine.py").write_text(MINE)
    assert completed(f"batchscope {words}", home, tmp_path) == offered


def test_a_list_is_offered_as_the_preset_has_it() -> None:
    words = Namespace(preset=None)
    (offered,) = completions("grid.batch_size=", words)
    assert offered.startswith("grid.batch_size=[")
    assert " " not in offered
    assert 'grid.optimizer=["adam"]' in completions("grid.optimizer=", words)


@pytest.mark.parametrize(
    ("shell", "says"),
    [
        ("bash", "complete -o nospace"),
        ("zsh", "compdef"),
        ("fish", "complete --command batchscope"),
    ],
)
def test_there_is_a_script_for_each_shell(shell: str, says: str) -> None:
    done = subprocess.run([COMMAND, "completion", shell], capture_output=True, encoding="utf-8")
    assert done.returncode == 0
    assert says in done.stdout
    assert done.stderr == ""


def test_an_unknown_shell_is_one_message() -> None:
    done = subprocess.run([COMMAND, "completion", "tcsh"], capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stdout) == (2, "")
    assert "invalid choice: 'tcsh' (choose from " in done.stderr
    assert done.stderr.count("\n") == 1
