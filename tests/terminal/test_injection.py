"""Text from files reaches the terminal as text, never as control sequences or markup."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import tomli_w

from batchscope.engine.journal import events as ev
from batchscope.engine.spec import Configuration, trials_of
from batchscope.engine.sweeps.store import LAUNCH, SWEEP, Launch
from batchscope.tui.config.panes import PANE_KEYS
from tests.functional.board_fixtures import CLAIMS, Recipe, configurations
from tests.functional.lab import COMMAND
from tests.terminal.terminals import Terminal

STEERING = "\x1b]0;pwn\x07\x1b[31m\x1b[2J\x9b31m\x9d0;pwn\x9c"
BIDI = "\u202egnp\u202c\u2066x\u2069\u200f"
LAYOUT = "\r\n\t\x0b\x85\u2028\ufeff\u200b"
PRESET = {
    "data": {"name": "digits"},
    "model": {"name": "mlp"},
    "train": {"lr": 0.1, "epochs": 20},
    "grid": {"batch_size": [8, 32]},
}
WIDE = "日本 e\u0301\u0327 ﷽ 👩\u200d🔬"
HOSTILE = f"[red]r[/red] [link=http://x]{STEERING}{BIDI}{LAYOUT}{WIDE}"
FORBIDDEN = (
    *(STEERING[at:].encode() for at, c in enumerate(STEERING) if c in "\x1b\x9b\x9d"),
    *(c.encode() for c in "\x9b\x9c\x9d\u202e\u202c\u2066\u2069\u200f\u200b\u200d\ufeff\u2028\x85"),
    b"\x1b]0;",
    b"\x1b]8;",
    b"\x0b",
)


@dataclass(frozen=True)
class Stored:
    """A sweep all of whose texts are hostile."""

    home: Path
    id: str


def named(configuration: Configuration) -> Configuration:
    return msgspec.structs.replace(configuration, label=f"{configuration.label}{HOSTILE}")


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    """A sweep that failed: hostile name, title, question, labels, reasons, notes and devices."""
    recipe = Recipe(tmp_path / "home")
    launch = Launch(preset=f"p{HOSTILE}", data_dir=HOSTILE)
    (recipe.folder / LAUNCH).write_bytes(msgspec.json.encode(launch))
    recipe.preset = f"p{HOSTILE}"
    statement = f"c{HOSTILE}"
    first, *others = (msgspec.structs.replace(each, statement=statement) for each in CLAIMS)
    recipe.claims = (first, others[0], others[1])
    preset = {"title": f"t{HOSTILE}", "question": f"q{HOSTILE}", **PRESET}
    (recipe.folder / SWEEP).write_text(tomli_w.dumps(preset))
    chosen = tuple(named(each) for each in configurations((8, 32), seeds=2))
    recipe.open(chosen, title=f"t{HOSTILE}", question=f"q{HOSTILE}")
    recipe.ready(chosen)
    recipe.say(ev.Note(text=f"n{HOSTILE}", level="warning"))
    recipe.say(ev.MemorySampled(device="cpu", name=f"d{HOSTILE}", total=100, ours=10, others=10))
    failing, *rest = [trial for each in chosen for trial in trials_of(each)]
    recipe.start(failing)
    recipe.end(failing, "failed", f"f{HOSTILE}")
    for trial in rest:
        recipe.whole(trial)
    recipe.close("failed", 4, 3, reason=f"e{HOSTILE}")
    named_so = recipe.folder.with_name(f"{recipe.folder.name}{STEERING}{BIDI}")
    return Stored(tmp_path / "home", recipe.folder.rename(named_so).name)


def assert_harmless(sent: bytes) -> None:
    assert [found for found in FORBIDDEN if found in sent] == []
    sent.decode()


def test_the_board_the_menu_and_the_title_show_text_as_text(stored: Stored) -> None:
    with Terminal("attach", "--home", str(stored.home), columns=160, rows=45) as terminal:
        terminal.wait_for("p[red]r[/red]", "q[red]", "failed")
        for key in PANE_KEYS.values():
            terminal.press(key)
            terminal.settle(6)
        terminal.press(PANE_KEYS["log"])
        terminal.wait_for("n[red]", "f[red]")
        terminal.press("c")
        terminal.wait_for("Copied")
        terminal.press("w")
        terminal.wait_for("Saved")
        terminal.press("e")
        terminal.wait_for("Folder for report")
        terminal.press("\x1b")
        terminal.wait_for("Export cancelled")
        terminal.press("S")
        terminal.settle()
        terminal.press("m")
        terminal.wait_for("1 stored sweep")
        terminal.press("\x1b[F")
        terminal.wait_for("t[red]")
        terminal.press_until("D", "Delete this sweep?")
        terminal.press("\x1b")
        terminal.wait_until_gone("Delete this sweep?")
        terminal.press("q")
        terminal.wait_for_exit()
        assert b"\x1b]2;p[red]r[/red]" in terminal.bytes
        assert_harmless(terminal.bytes)


def test_in_ascii_as_well(stored: Stored) -> None:
    with Terminal("attach", "--home", str(stored.home), "--ascii") as terminal:
        terminal.wait_for("p[red]")
        terminal.press("7")
        terminal.wait_for("n[red]")
        terminal.press("q")
        terminal.wait_for_exit()
        assert terminal.bytes.isascii()
        assert b"\x07pwn" not in terminal.bytes
        assert re.search(rb"\x1b\]0;|\x1b\[31m", terminal.bytes) is None


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("list", "--json"),
        ("attach",),
        ("attach", "--log-format", "json"),
        ("--export", "out", "--sweep", ""),
        ("--export", "out", "--sweep", "", "--json"),
    ],
    ids=" ".join,
)
def test_without_a_screen_too(stored: Stored, words: tuple[str, ...], tmp_path: Path) -> None:
    said = [stored.id if word == "" else word for word in words]
    done = subprocess.run(
        [COMMAND, *said, "--home", str(stored.home)], cwd=tmp_path, capture_output=True, check=False
    )
    told = done.stdout + done.stderr
    assert b"[red]r[/red]" in told
    assert_harmless(told)


def test_paths_with_control_characters_are_shown_as_text(stored: Stored, tmp_path: Path) -> None:
    odd = tmp_path / f"x{STEERING}{BIDI}"
    odd.write_text("title = ")
    for words in (
        ("--preset", str(odd)),
        ("--preset", "quickstart", "--data-dir", f"/no{STEERING}{BIDI}"),
        ("--preset", "quickstart", "--set", f"x{STEERING}{BIDI}=1"),
        ("attach", f"x{STEERING}{BIDI}"),
        ("--theme", f"x{STEERING}{BIDI}"),
        (f"x{STEERING}{BIDI}",),
        (f"--x{STEERING}{BIDI}",),
    ):
        done = subprocess.run(
            [COMMAND, *words, "--home", str(stored.home)], capture_output=True, check=False
        )
        assert done.returncode == 2, words
        assert_harmless(done.stdout + done.stderr)
        assert done.stderr.count(b"\n") == 1
