"""The installed program in a real terminal, on real sweeps."""

import subprocess
from pathlib import Path

from tests.terminal.homes import home as home
from tests.terminal.homes import stored
from tests.terminal.terminals import COMMAND, Terminal

SMALL = ("--set", "grid.batch_size=[16,64]", "--set", "seeds=2", "--set", "train.epochs=2000")


def test_a_lost_line_leaves_the_sweep_running_and_attach_shows_it_whole(home: Path) -> None:
    with Terminal("--preset", "quickstart", *SMALL, "--home", str(home)) as terminal:
        terminal.wait_for("running", "16")
        terminal.hang_up()
        terminal.wait_for_exit()
    (sweep,) = stored(home)
    assert (sweep["state"], sweep["trials"]) == ("running", 4)
    with Terminal("attach", "--home", str(home), columns=160, rows=45) as terminal:
        terminal.wait_for("running", "16 s0", "16 s1", "64 s0", "64 s1")
        terminal.press("q")
        assert terminal.wait_for_exit() == 0
        assert f"attach {sweep['id']}".encode() in terminal.bytes
    assert stored(home)[0]["state"] == "running"
    subprocess.run([COMMAND, "stop", "--all", "--home", str(home)], check=True)
    assert stored(home)[0]["state"] == "stopped"


def test_a_board_that_ends_finished_and_the_menu_that_lists_it(tmp_path: Path, home: Path) -> None:
    preset = tmp_path / "short.toml"
    preset.write_text(
        'title = "Short"\nquestion = "Does it end?"\n[data]\nname = "digits"\n'
        '[model]\nname = "mlp"\n[train]\nlr = 0.1\nepochs = 2\nbatch_size = 64\n'
    )
    with Terminal("--preset", str(preset), "--home", str(home)) as terminal:
        terminal.wait_for("finished", "Does it end?")
        terminal.resize(160, 45)
        terminal.wait_for("memory", "epoch time", "64 s0")
        terminal.press("q")
        assert terminal.wait_for_exit() == 0
    with Terminal("--home", str(home)) as terminal:
        terminal.wait_for("quickstart", "best-mnist", "1 stored sweep")
        terminal.press("\x1b[F")
        terminal.wait_for("finished", "enter opens its board")
        terminal.press("q")
        assert terminal.wait_for_exit() == 0


def test_an_error_is_reported_before_any_screen_is_drawn(home: Path) -> None:
    with Terminal("--preset", "quikstart", "--home", str(home)) as terminal:
        assert terminal.wait_for_exit() == 2
        assert terminal.bytes.startswith(b"batchscope: no preset or file 'quikstart'")
        assert b"\x1b" not in terminal.bytes
