"""The installed program in a real terminal, on real sweeps."""

import json
import subprocess
from pathlib import Path

from terminals import COMMAND, Terminal

SMALL = ("--set", "grid.batch_size=[16,64]", "--set", "seeds=2", "--set", "train.epochs=2000")


def stored(home: Path) -> list[dict[str, object]]:
    done = subprocess.run(
        [COMMAND, "list", "--json", "--home", str(home)], capture_output=True, check=True
    )
    sweeps: list[dict[str, object]] = json.loads(done.stdout)
    return sweeps


def stop(home: Path) -> None:
    subprocess.run([COMMAND, "stop", "--all", "--home", str(home)], check=True)


def test_a_lost_line_leaves_the_sweep_running_and_attach_shows_it_whole(tmp_path: Path) -> None:
    home = ("--home", str(tmp_path))
    with Terminal("--preset", "quickstart", *SMALL, *home) as terminal:
        terminal.wait_for("running", "16")
        terminal.hang_up()
        terminal.wait_for_exit()
    (sweep,) = stored(tmp_path)
    assert (sweep["state"], sweep["trials"]) == ("running", 4)
    with Terminal("attach", *home, columns=160, rows=45) as terminal:
        terminal.wait_for("running", "b16-s0", "b64-s0", "b16-s1", "b64-s1")
        terminal.press("q")
        assert terminal.wait_for_exit() == 0
        assert f"attach {sweep['id']}".encode() in terminal.bytes
    assert stored(tmp_path)[0]["state"] == "running"
    stop(tmp_path)
    assert stored(tmp_path)[0]["state"] == "stopped"


def test_from_the_menu_to_a_board_that_ends_finished(tmp_path: Path) -> None:
    preset = tmp_path / "short.toml"
    preset.write_text(
        'title = "Short"\nquestion = "Does it end?"\n[data]\nname = "digits"\n'
        '[model]\nname = "mlp"\n[train]\nlr = 0.1\nepochs = 2\nbatch_size = 64\n'
    )
    home = ("--home", str(tmp_path / "home"))
    with Terminal("--preset", str(preset), *home) as terminal:
        terminal.wait_for("finished", "Does it end?")
        terminal.resize(160, 45)
        terminal.wait_for("b64-s0")
        terminal.press("q")
        assert terminal.wait_for_exit() == 0
    with Terminal(*home) as terminal:
        terminal.wait_for("quickstart", "mnist-epochs", "finished")
        terminal.press("q")
        assert terminal.wait_for_exit() == 0


def test_a_mistake_is_said_before_any_screen_is_drawn(tmp_path: Path) -> None:
    with Terminal("--preset", "quikstart", "--home", str(tmp_path)) as terminal:
        assert terminal.wait_for_exit() == 2
        assert terminal.bytes.startswith(b"batchscope: no preset 'quikstart'")
        assert b"\x1b" not in terminal.bytes
