"""Mistakes on the command line: one clear line, the documented exit code, no files left behind."""

import os
import subprocess
from pathlib import Path

import pytest

from batchscope.engine.experiment.preset_catalog import preset_files
from tests.functional.lab import COMMAND, Lab, Outcome, needs_no_gpu, recorded, sets, state_of
from tests.messages import says

ONE = sets("seeds=1", "train.epochs=1", "grid.batch_size=[512]")
PRESET = """\
title = "Mine"
[data]
name = "digits"
[model]
name = "mlp"
[train]
batch_size = 64
lr = 0.1
epochs = 1
"""


def refused(lab: Lab, code: int, *words: str) -> str:
    """The one line of a call that fails before anything was begun."""
    outcome = lab.run(*words)
    message = outcome.message
    assert outcome.code == code, message
    assert lab.folders() == []
    return message


def clean(outcome: Outcome) -> bool:
    """Whether it went well, or ended in one line."""
    assert "Traceback" not in outcome.err
    return outcome.code == 0 or bool(outcome.message)


# ---- words


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--frobnicate"], ["--frobnicate"]),
        (["--exprot", "out"], ["--exprot", "did you mean '--export'?"]),
        (["--presset", "quickstart"], ["--presset", "did you mean '--preset'?"]),
        (["--preset=quickstart", "--jsn"], ["--jsn", "did you mean '--json'?"]),
        (["--exp", "out"], ["--exp"]),
        (["list", "--jsn"], ["--jsn", "did you mean '--json'?"]),
        (["-x"], ["-x"]),
        (["bogus"], ["bogus", "presets, list, attach, compare, stop, "]),
        (["lst"], ["lst", "did you mean 'list'?"]),
        (["\x1b[2J"], ["�[2J"]),
        (["list", "more"], ["more"]),
        (["resume"], ["ID"]),
        (["stop"], ["stop: ", "--all"]),
        (["stop", "x", "--all"], ["stop: ", "--all"]),
        (["--preset"], ["--preset"]),
        (["--workers", "0"], ["--workers", "at least 1", "'0'"]),
        (["--workers", "-3"], ["--workers"]),
        (["--workers", "2.5"], ["--workers", "at least 1", "'2.5'"]),
        (["--workers", "many"], ["--workers", "at least 1", "'many'"]),
        (["--log-format", "yaml"], ["--log-format", "'yaml'", "text", "json"]),
        (["--sweep", "x"], ["--sweep", "--export"]),
        (["--export", "o", "--sweep", "x", "--preset", "quickstart"], ["--sweep", "--preset"]),
        (["--export", "o", "--sweep", "x", "--set", "seeds=1"], ["--sweep", "--set"]),
        (["--data-dir", "nowhere"], ["--data-dir nowhere", "no such folder"]),
        (["--data-dir", "/dev/null"], ["--data-dir /dev/null", "no such folder"]),
        (["--device", "tpu"], ["--device tpu", "did you mean 'cpu'?"]),
        (["--device", "cuda:x"], ["--device cuda:x", "auto, cpu"]),
        (["--preset", "quickstrat"], ["'quickstrat'", "did you mean 'quickstart'?"]),
        (["--preset", "xyzzy"], ["'xyzzy'", "mnist-epochs"]),
        (["--preset", "no.toml"], ["no.toml: no such preset file"]),
        (["--preset", "."], [".: this is a folder"]),
        (["--set", "batch_size"], ["--set batch_size", "KEY=VALUE"]),
        (["--set", "lr=0.1"], ["--set lr=0.1", "did you mean train.lr?"]),
        (["--set", "train.learning=0.1"], ["--set train.learning=0.1: ", "'train.learning'"]),
        (["--set", "train.lr=nan"], ["train.lr", "finite"]),
        (["--set", "grid.batch_size=[0]"], ["--set grid", "grid.batch_size[0]", "got 0"]),
        (
            ["--set", "grid.batch_sizes=[8]"],
            ["grid.batch_sizes[0]", "probe.batch_sizes; did you mean 'batch_size'?"],
        ),
        (["--export", "/dev/null/out"], ["/dev/null/out: "]),
        (["--on", "ray://head"], ["--on ray://head", "such as ray://head:10001"]),
        (["--set", "seeds=20000"], ["140,000 trials", "100,000"]),
    ],
)
def test_wrong_options_and_commands(lab: Lab, words: list[str], parts: list[str]) -> None:
    message = refused(lab, 2, *words)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    "words", [["resume", "nope"], ["attach", "nope"], ["stop", "nope"], ["attach"]]
)
def test_a_sweep_that_is_not_stored(lab: Lab, words: list[str]) -> None:
    message = refused(lab, 2, *words)
    assert "no stored sweep 'nope'" in message or "no sweep is stored in" in message


def test_the_nearest_stored_sweep_is_named() -> None:
    name = recorded().folder.name
    for words in (["resume"], ["attach"], ["stop"], ["--export", "out", "--sweep"]):
        outcome = recorded().lab.run(*words, name.replace("quickstart", "quickstrat"))
        assert outcome.code == 2
        assert f"did you mean '{name}'?" in outcome.message


@pytest.mark.parametrize(
    ("other", "part"),
    [
        ("nope", "no stored sweep 'nope'"),
        ("", "--overlay: expected a value"),
        ("quickstart", "needs a terminal"),
    ],
)
def test_an_overlay_that_cannot_be_drawn(other: str, part: str) -> None:
    outcome = recorded().lab.run("attach", "--overlay", other)
    assert outcome.code == 2
    assert part in outcome.message


@pytest.mark.parametrize("option", ["--preset", "--export", "--home", "--data-dir", "--sweep"])
def test_an_empty_value_is_rejected(lab: Lab, option: str) -> None:
    """As a script does that expands a variable which is not set."""
    export = [] if option == "--export" else ["--export", "out"]
    lab.bare = True
    before = sorted(lab.root.iterdir())
    outcome = lab.run(*export, option, "", *ONE)
    assert outcome.code == 2
    assert option in outcome.message
    assert sorted(lab.root.iterdir()) == before


@pytest.mark.parametrize("option", ["--preset", "--home", "--data-dir"])
def test_a_name_too_long_for_the_disk(lab: Lab, option: str) -> None:
    outcome = lab.run("--export", "out", option, "x" * 300, *ONE)
    assert outcome.code in (2, 3)
    assert outcome.message
    assert lab.folders() == []


@pytest.mark.parametrize("option", ["--home", "--data-dir"])
def test_a_home_of_an_unknown_user(lab: Lab, option: str) -> None:
    outcome = lab.run("--export", "out", option, "~nobody-of-this-name/x", *ONE)
    assert outcome.code in (2, 3)
    assert "~nobody-of-this-name/x" in outcome.message
    assert lab.folders() == []


# ---- presets


@pytest.mark.parametrize(
    ("line", "changed", "parts"),
    [
        ("batch_size = 64", "batch_size = 0", ["train.batch_size", "at least 1", "got 0"]),
        ("batch_size = 64", "batch_size = -3", ["train.batch_size", "at least 1", "got -3"]),
        ("batch_size = 64", "batch_size = 7.5", ["train.batch_size", "integer", "got 7.5"]),
        ("batch_size = 64", 'batch_size = "big"', ["train.batch_size", "integer", "'big'"]),
        ("batch_size = 64", "batch_size = true", ["train.batch_size", "integer", "True"]),
        ("batch_size = 64", "", ["train.batch_size", "required"]),
        ("lr = 0.1", "lr = nan", ["train.lr", "finite", "nan"]),
        ("lr = 0.1", "lr = inf", ["train.lr", "finite", "inf"]),
        ("lr = 0.1", "lr = 0.0", ["train.lr", "above 0"]),
        ("lr = 0.1", "learning_rate = 0.1", ["unknown key 'train.learning_rate'"]),
        ("lr = 0.1", "lr = ", ["not valid TOML", "line 8"]),
        ("epochs = 1", "epochs = 1\nsteps = 3", ["one budget", "epochs and steps"]),
        ("epochs = 1", "epoch = 1", ["unknown key 'train.epoch'", "did you mean 'epochs'?"]),
        ("[model]", "[modle]", ["unknown key 'modle'", "did you mean 'model'?"]),
        ('title = "Mine"', "", ["title", "required"]),
        ('title = "Mine"', 'title = "x"\ntitel = "x"', ["'titel'", "did you mean 'title'?"]),
        (
            'name = "mlp"',
            'name = "vgg19"',
            ["model.name", "'vgg19'", "did you mean 'vgg16'?"],
        ),
        ('title = "Mine"', 'title = "x"\nselect = 3', ["select", "expected a table"]),
        (
            'title = "Mine"',
            'title = "x"\n[select]\nover = "lr"',
            ["select: unknown key 'over'; docs/presets.md lists all keys"],
        ),
    ],
)
def test_a_wrong_preset_is_rejected_with_file_and_key(
    lab: Lab, line: str, changed: str, parts: list[str]
) -> None:
    path = lab.root / "mine.toml"
    path.write_text(PRESET.replace(line, changed))
    message = refused(lab, 2, "--export", "out", "--preset", str(path))
    for part in (f"{path}: ", *parts):
        assert part in message
    assert list(lab.cwd.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "the file is empty"),
        (b"\x00\xff\xfe\x80", "not a text file"),
        (b"just words", "not valid TOML"),
    ],
)
def test_a_file_that_is_not_a_preset(lab: Lab, content: bytes, part: str) -> None:
    path = lab.root / "mine.toml"
    path.write_bytes(content)
    assert f"{path}: {part}" in refused(lab, 2, "--preset", str(path))


def test_a_file_with_a_hostile_name_and_title(lab: Lab) -> None:
    path = lab.root / "\x1b[31m.toml"
    path.write_text(PRESET.replace("lr = 0.1", "lr = 0"))
    assert "�[31m.toml: line 8: train.lr" in refused(lab, 2, "--preset", str(path))


def test_control_characters_in_a_title_are_not_printed(lab: Lab) -> None:
    path = lab.root / "mine.toml"
    hostile = 'title = "\\u001b]0;owned\\u0007[bold]x[/bold]\\u202e"\n'
    label = '[[cells]]\nlabel = "\\u001b[2Jrow"\n'
    path.write_text(PRESET.replace('title = "Mine"\n', hostile) + label)
    outcome = lab.run("--export", "out", "--preset", str(path))
    assert outcome.code == 0, outcome.err
    shown = "�]0;owned�[bold]x[/bold]�"
    assert outcome.out.splitlines()[0] == shown
    assert "�[2Jrow" in outcome.out
    assert "\x1b" not in outcome.out + outcome.err
    assert f"1 trial of mine: {shown}" in outcome.err
    listed = lab.run("list")
    assert "\x1b" not in listed.out
    assert lab.listed()[0]["title"] == shown
    for name in ("trials.csv", "manifest.json", "journal.jsonl"):
        assert "\x1b" not in (lab.cwd / "out" / name).read_text("utf-8")


# ---- bytes that are no UTF-8


@pytest.mark.parametrize("what", ["title", "preset", "data-dir", "export"])
def test_names_that_are_not_utf8(lab: Lab, what: str) -> None:
    """A word of the command line, and a file's name, may hold any bytes."""
    words = ["--export", "out"]
    match what:
        case "title":
            words += ["--set", "title=caf\udce9"]
        case "preset":
            path = lab.root / "caf\udce9.toml"
            path.write_bytes(preset_files()["quickstart"].read_bytes())
            words += ["--preset", str(path)]
        case "data-dir":
            (lab.cwd / "caf\udce9").mkdir()
            words += ["--data-dir", "caf\udce9"]
        case "export":
            words = ["--export", "caf\udce9", "--json"]
    assert clean(lab.run(*words, *ONE))


def test_an_empty_id_is_named_as_in_the_help(lab: Lab) -> None:
    outcome = lab.run("delete", "", "--yes")
    assert outcome.code == 2
    assert outcome.message == "ID: expected a value, got an empty string"


# ---- the machine


@needs_no_gpu
@pytest.mark.parametrize("device", ["cuda:0", "cuda", "cuda:0,cuda:1"])
def test_a_missing_gpu(lab: Lab, device: str) -> None:
    message = refused(lab, 3, "--export", "out", "--device", device)
    assert message == "--device cuda:0: not on this machine; NVML sees no GPU"


@pytest.mark.parametrize("name", ["file", "file/below", "/dev/null/x", "/proc/nothing"])
def test_a_home_that_cannot_be_written(lab: Lab, name: str) -> None:
    (lab.cwd / "file").write_text("")
    outcome = lab.run("--export", "out", "--home", name)
    assert outcome.code == 3
    assert "--home" in outcome.message
    assert name in outcome.message


@pytest.mark.parametrize("name", ["file", "file/below", "/dev/null/x"])
def test_a_home_that_is_no_folder(lab: Lab, name: str) -> None:
    (lab.cwd / "file").write_text("")
    for words in (["list"], ["list", "--json"], ["attach"], ["compare", "a", "b"]):
        outcome = lab.run(*words, "--home", name)
        assert outcome.code == 3, words
        assert says(outcome.message, f"/ | {name}: cannot be read: Not a directory; | --home")


def test_data_that_cannot_be_downloaded(lab: Lab) -> None:
    closed = "http://127.0.0.1:9"  # discard: nobody listens there
    proxies = {"http_proxy": closed, "https_proxy": closed}
    words = ["--export", "out", "--preset", "mnist-epochs", *ONE]
    outcome = lab.run(*words, HTTP_PROXY=closed, HTTPS_PROXY=closed, **proxies)
    assert outcome.code == 3
    assert "MNIST could not be downloaded: " in outcome.err
    assert "--data-dir DIR" in outcome.err
    assert "Traceback" not in outcome.err
    assert "failed, 0 of 1 trials finished" in outcome.out
    (listed,) = lab.listed()
    assert (listed["state"], listed["finished"]) == ("failed", 0)
    log = (lab.only_folder() / "conductor.log").read_text()
    assert "Traceback" not in log


def test_a_data_folder_without_the_data(lab: Lab) -> None:
    (lab.cwd / "images").mkdir()
    outcome = lab.run("--export", "out", "--preset", "mnist-epochs", "--data-dir", "images", *ONE)
    assert outcome.code == 3
    assert str(lab.cwd / "images") in outcome.err
    assert "Traceback" not in outcome.err
    ended = state_of(lab.only_folder()).ended
    assert ended is not None
    assert (ended.state, ended.exit_code) == ("failed", 3)


# ---- where the words go


def test_help_and_version(lab: Lab) -> None:
    for words in (["--help"], ["resume", "--help"], ["--version"]):
        outcome = lab.run(*words)
        assert (outcome.code, outcome.err) == (0, "")
        assert "batchscope" in outcome.out
    assert not lab.home.exists()


@pytest.mark.parametrize("words", [["presets"], ["list", "--json"], ["--help"]])
def test_a_closed_stdout_prints_no_traceback(lab: Lab, words: list[str]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [COMMAND, *words],
            cwd=lab.cwd,
            env=lab.environment(),
            stdin=subprocess.DEVNULL,
            stdout=write_end,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(write_end)
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("words", [["presets"], ["list", "--json"]])
def test_a_full_disk_behind_stdout_prints_one_line(lab: Lab, words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [COMMAND, *words],
            cwd=lab.cwd,
            env=lab.environment(),
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 3
    assert done.stderr.startswith("batchscope: ")
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr


def test_an_ascii_encoding_prints_no_traceback(lab: Lab) -> None:
    outcome = recorded().lab.run("list", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert outcome.code == 0
    outcome = recorded().lab.run(
        *("--export", str(lab.root / "out"), "--sweep", recorded().folder.name),
        PYTHONIOENCODING="ascii",
        PYTHONUTF8="0",
    )
    assert "Traceback" not in outcome.err
    assert outcome.code == 0
    assert "2/2" in outcome.out
