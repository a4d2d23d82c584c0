"""Nothing of a person's folder is imported without trust, nor by any process but workers."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.sweeps.launcher import module_command
from batchscope.engine.sweeps.store import Launch, create_sweep, home_folder
from tests.functional.board_fixtures import finished_sweep
from tests.functional.lab import COMMAND, Lab
from tests.functional.tasks.own_code import OwnCode, ended_as
from tests.terminal.terminals import Terminal

SCRIPT, MODULE = (COMMAND,), (sys.executable, "-m", "batchscope")
SWEEP, OTHER = "20270115-080000-quickstart", "20270116-080000-quickstart"


@pytest.fixture
def own(lab: Lab) -> OwnCode:
    return OwnCode(lab.cwd, lab.root / "imported.log")


def called(
    lab: Lab, way: Sequence[str], *words: str, **more: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*way, *words],
        cwd=lab.cwd,
        env=lab.environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("way", [SCRIPT, MODULE], ids=["script", "module"])
def test_commands_import_nothing_of_the_current_folder(
    lab: Lab, own: OwnCode, way: tuple[str, ...]
) -> None:
    finished_sweep(lab.home)
    finished_sweep(lab.home, OTHER)
    stored = create_sweep(
        home_folder(str(lab.home)), load_preset(lab.cwd / "mine.toml"), Launch(preset="mine")
    )
    done = [
        called(lab, way, *words)
        for words in (
            ("list",),
            ("presets",),
            ("trust",),
            ("attach", SWEEP),
            ("compare", SWEEP, OTHER),
            ("--export", "out", "--no-report", "--sweep", SWEEP),
            ("delete", stored.name, "--yes"),
        )
    ]
    assert all(each.returncode in (0, 1) for each in done), done  # 1: the two sweeps differ
    assert all("Traceback" not in each.stderr for each in done)
    assert own.imported == []


def test_menu_and_board_import_nothing_of_the_current_folder(
    lab: Lab, own: OwnCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished_sweep(lab.home)
    monkeypatch.chdir(lab.cwd)
    module = ("-m", "batchscope")
    home = ("--home", str(lab.home))
    with Terminal(*module, *home, command=sys.executable) as terminal:
        terminal.wait_for("quickstart", "1 stored sweep")
        terminal.press("q")
        assert terminal.wait_for_exit() == 0
    with Terminal(*module, "attach", SWEEP, *home, command=sys.executable) as terminal:
        terminal.wait_for("finished")
        terminal.press("q")
        assert terminal.wait_for_exit() == 0
    assert own.imported == []


@pytest.mark.parametrize("way", [SCRIPT, MODULE], ids=["script", "module"])
@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--preset", "mine.toml"), ("batchscope trust", "--trust")),
        (("--preset", "mine.toml", "--export", "out"), ("batchscope trust", "--trust")),
        (("--preset", "mine.toml", "--export", "out", "--trust", ".."), ("batchscope trust",)),
        (("--preset", "sweep.toml", "--export", "out"), ("export", "--trust")),
        (("--preset", "mine.toml", "--export", "out", "--on", "ray"), ("--on ray", "[task] yet")),
    ],
)
def test_a_preset_is_not_run_without_trust(
    lab: Lab, own: OwnCode, way: tuple[str, ...], words: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    (lab.cwd / "sweep.toml").write_text((lab.cwd / "mine.toml").read_text())
    done = called(lab, way, *words)
    assert done.returncode == 2, done.stderr
    assert all(part in done.stderr for part in parts), done.stderr
    assert "Traceback" not in done.stderr
    assert not (lab.cwd / "out").exists()
    assert not lab.folders()
    assert own.imported == []


def test_use_cannot_name_what_is_not_in_the_folder(lab: Lab, own: OwnCode) -> None:
    assert lab.run("trust", ".").code == 0
    outside = lab.root / "outside.py"
    outside.write_text((lab.cwd / "mine.py").read_text())
    (lab.cwd / "linked.py").symlink_to(outside)
    for use, part in (
        ("os:system", "os.py"),
        ("linked:make", "link out of its folder"),
        ("..outside:make", "expected 'module:function'"),
        ("mine.make:make", "make.py"),
    ):
        outcome = lab.run("--preset", "mine.toml", "--export", "out", "--set", f"task.use={use}")
        assert outcome.code == 2
        assert part in outcome.message
    assert own.imported == []


def test_a_sweep_is_not_resumed_without_trust(lab: Lab, own: OwnCode) -> None:
    home = home_folder(str(lab.home))
    folder = create_sweep(home, load_preset(lab.cwd / "mine.toml"), Launch(preset="mine"))
    outcome = lab.run("resume", folder.name)
    assert outcome.code == 2
    assert "batchscope trust" in outcome.message
    # a conductor that somebody starts by hand passes the same gate
    command = [*module_command("batchscope.engine.conductor"), str(folder)]
    done = subprocess.run(
        command, cwd=lab.cwd, env=lab.environment(), capture_output=True, check=False
    )
    assert done.returncode == 2
    end = ended_as(folder)
    assert (end["state"], end["exit_code"]) == ("failed", 2)
    assert "batchscope trust" in end["reason"]
    assert own.imported == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_that_changed_its_owner_is_asked_about_again(lab: Lab, own: OwnCode) -> None:
    lab.cwd.chmod(0o755)
    assert lab.run("trust", ".").code == 0
    os.chown(lab.cwd, 61000, 61000)
    outcome = lab.run("--preset", "mine.toml", "--export", "out")
    assert outcome.code == 2
    assert "another owner" in outcome.message
    listed = lab.run("trust")
    assert "not at present" in listed.out
    assert own.imported == []


def test_trust_is_listed_and_revoked(lab: Lab) -> None:
    assert lab.run("trust").out == ""
    assert lab.run("trust", "--revoke").code == 2
    assert lab.run("trust", ".").code == 0
    assert lab.run("trust").out == f"{lab.cwd}\n"
    assert lab.run("trust", ".", "--revoke").code == 0
    assert lab.run("trust").out == ""
    assert "not trusted" in lab.run("trust", ".", "--revoke").message


def test_a_program_that_imports_the_package_still_finds_its_own_modules(lab: Lab) -> None:
    (lab.cwd / "utils.py").touch()
    (lab.cwd / "program.py").write_text("import batchscope, utils, sys\nprint(utils.__name__)\n")
    done = called(lab, (sys.executable, "-m", "program"))
    assert done.stdout == "utils\n", done.stderr


def test_the_module_loads_nothing_of_the_package_below_another_name(tmp_path: Path) -> None:
    (tmp_path / "batchscope.py").write_text("raise SystemExit('the wrong one')\n")
    done = subprocess.run(
        [*module_command("batchscope"), "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
