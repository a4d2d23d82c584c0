"""Files that are not presets, and how `--set` changes a preset."""

from pathlib import Path
from typing import Any

import pytest

from batchscope.engine.errors import MachineProblem, UsageProblem, printable
from batchscope.engine.experiment.preset import assign, load_preset, read_toml
from tests.messages import says
from tests.unit.engine.experiment.preset_fixtures import BASE, base, written

# ---- files


@pytest.mark.parametrize("content", [b"", b"\n", b" \n\t\n "])
def test_an_empty_file(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    with pytest.raises(UsageProblem, match="is empty") as caught:
        load_preset(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n\x00\xff", b'title = "caf\xe9"', b"\xff\xfet\x00i\x00", b"\x80"],
)
def test_a_binary_file(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    with pytest.raises(UsageProblem, match="not a text file") as caught:
        load_preset(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "content",
    ["title", "title = ", "[train", "{}", "a: 1", "title = 'x'\ntitle = 'y'", "\0\0", "<html>"],
)
def test_a_file_that_is_not_toml(tmp_path: Path, content: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(UsageProblem, match="not valid TOML: ") as caught:
        load_preset(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "line 1" in message or "line 2" in message or "end of document" in message


def test_a_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path / "no.toml", written(tmp_path, BASE) / "below.toml"):
        with pytest.raises(UsageProblem) as caught:
            load_preset(path)
        assert str(caught.value) == f"{path}: no such preset file"


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem) as caught:
        load_preset(tmp_path)
    assert says(str(caught.value), f"{tmp_path}: | folder")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    loop = tmp_path / "loop.toml"
    loop.symlink_to(loop)
    for path in (loop, tmp_path / ("x" * 300), Path("/proc/self/mem")):
        with pytest.raises(MachineProblem, match="cannot be read") as caught:
            load_preset(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_the_file_name_is_made_printable(tmp_path: Path) -> None:
    for name in ("\x1b[31m.toml", "\udcff.toml"):
        with pytest.raises(UsageProblem) as caught:
            read_toml(tmp_path / name)
        assert str(caught.value).isprintable()


# ---- --set


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("train.lr=0.1", ("train", "lr"), 0.1),
        ("train.lr = 1e-3 ", ("train", "lr"), 1e-3),
        ("train . lr=1", ("train", "lr"), 1),
        ("train.batch_size=1_024", ("train", "batch_size"), 1024),
        ("train.batch_size=0x10", ("train", "batch_size"), 16),
        ("grid.batch_size=[8, 16]", ("grid", "batch_size"), [8, 16]),
        ("grid.train.lr=[0.1]", ("grid", "train", "lr"), [0.1]),
        ("model.name=cnn", ("model", "name"), "cnn"),
        ("data.name=fashion-mnist", ("data", "name"), "fashion-mnist"),
        ('model.name="cnn"', ("model", "name"), "cnn"),
        ("model.name='cnn'", ("model", "name"), "cnn"),
        ("title=Two words = one title", ("title",), "Two words = one title"),
        ("title=#1", ("title",), "#1"),
        ("title=", ("title",), ""),
        ("title=true story", ("title",), "true story"),
        ("scaling.rule=linear", ("scaling", "rule"), "linear"),
        ("seeds=3", ("seeds",), 3),
        ("train.lr=nan", ("train", "lr"), "nan"),
        ("train={lr = 1.0, epochs = 3}", ("train",), {"lr": 1.0, "epochs": 3}),
        (
            'cells=[{batch_size = 8, label = "x"}]',
            ("cells",),
            [{"batch_size": 8, "label": "x"}],
        ),
    ],
)
def test_set_replaces_a_value(assignment: str, path: tuple[str, ...], value: object) -> None:
    raw = base()
    assign(raw, assignment)
    expected = base()
    table = expected
    for part in path[:-1]:
        table = table.setdefault(part, {})
    table[path[-1]] = value
    found: Any = raw
    for part in path:
        found = found[part]
    if value == "nan":  # a TOML literal, and like no other equal to nothing
        assert found != found
    else:
        assert raw == expected


def test_set_is_checked_like_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, BASE)
    for assignments, expected in [
        (["train.batch_size=0"], "train.batch_size: expected an integer (at least 1), got 0"),
        (["train.lr=nan"], "train.lr: expected a finite number, got nan"),
        (["train.lr=quick"], "train.lr: expected a number (above 0), got 'quick'"),
        (["train.batchsize=3"], "unknown key 'train.batchsize'; did you mean 'batch_size'?"),
        (["grid.batchsize=[3]"], "grid: unknown key 'batchsize'; did you mean 'batch_size'?"),
        (["grid.batch_size=3"], "grid.batch_size: expected a list of at least one value, got 3"),
        (["train.steps=3"], "train: expected one budget"),
        (["train=3"], "train: expected a table, written [train]"),
        (["select.by=luck"], "select.by: expected one of steps_to_target"),
        (["memory.limit=1G"], "memory.limit: expected a size such as 512MiB, 1.5GB or"),
    ]:
        with pytest.raises(UsageProblem) as caught:
            load_preset(path, assignments)
        key = assignments[0].partition("=")[0]
        where = f"--set {assignments[0]}: "
        assert str(caught.value).startswith(where + expected.removeprefix(f"{key}: "))


def test_set_without_a_value_removes_the_key(tmp_path: Path) -> None:
    raw = base()
    for assignment in ("train.epochs=", "grid.lr = ", "source="):
        assign(raw, assignment)
    assert "epochs" not in raw["train"]
    preset = load_preset(written(tmp_path, BASE), ["train.epochs=", "train.steps=3", "source="])
    assert preset.configurations[0].settings.train.steps == 3
    assert preset.source == ""


def test_a_later_set_wins(tmp_path: Path) -> None:
    preset = load_preset(written(tmp_path, BASE), ["train.lr=1", "seeds=2", "train.lr=2"])
    assert preset.configurations[0].settings.train.lr == 2.0
    assert preset.trial_count == 2


@pytest.mark.parametrize("assignment", ["", "train.lr", "=3", ".lr=3", "train.=3", "a..b=3", "="])
def test_set_without_key_or_value(assignment: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        assign(base(), assignment)
    expected = f"--set {assignment}: expected KEY=VALUE, for example train.lr=0.1"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("assignment", "near"),
    [
        ("batch_size=8", "did you mean train.batch_size?"),
        ("lr=8", "did you mean train.lr?"),
        ("trian.lr=8", "did you mean 'train'?"),
        ("sedes=8", "did you mean 'seeds'?"),
        ("xyzzy=8", "known: name, title, question, source, group, seeds, data"),
        ("\x1b[2J=8", "known: name, title"),
    ],
)
def test_set_of_an_unknown_key(assignment: str, near: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        assign(base(), assignment)
    message = str(caught.value)
    assert message.startswith(f"--set {printable(assignment)}: unknown key ")
    assert near in message
    assert message.isprintable()


@pytest.mark.parametrize(
    ("assignment", "problem"),
    [
        ("grid.batch_size=[8, 16", "TOML value"),
        ('title="half', "TOML value"),
        ("train={lr = }", "TOML value"),
        ("seeds=1\ntitle='x'", "one value"),
        ("seeds=1\n[train]", "one value"),
        ("title.x=1", "'title' is not a table"),
        ("train.lr.x=1", "'lr' is not a table"),
    ],
)
def test_set_of_nonsense(assignment: str, problem: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        assign(base(), assignment)
    message = str(caught.value)
    assert message.startswith(f"--set {printable(assignment)}: ")
    assert message.endswith(problem)
