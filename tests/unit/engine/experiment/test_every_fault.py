"""All faults of a preset at once, each with its line or with the `--set` that is to blame."""

from pathlib import Path

import pytest

from batchscope.engine.experiment.draft import checked
from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.experiment.preset_faults import PresetProblem
from tests.unit.engine.experiment.preset_fixtures import BASE, written


def faults(folder: Path, content: str, *assignments: str) -> list[tuple[int, str]]:
    """The line (or the assignment's key, see `blame`) and the text of each fault."""
    with pytest.raises(PresetProblem) as caught:
        load_preset(written(folder, content), assignments)
    lines = str(caught.value).split("\n")
    assert len(lines) == (1 if len(caught.value.faults) == 1 else 1 + len(caught.value.faults))
    return [(each.line, each.text) for each in caught.value.faults]


def blame(folder: Path, content: str, *assignments: str) -> list[str]:
    with pytest.raises(PresetProblem) as caught:
        load_preset(written(folder, content), assignments)
    return [each.assignment for each in caught.value.faults]


MANY = """\
title = "Many"
sedes = 3
[data]
name = "digit"
validation = 2
[model]
name = "mlp"
hiden = [8]
[train]
batch_size = 0
epochs = 2
optimizer = "adamm"
[grid]
lr = [0.1, -1]
hidden = 3
[[cells]]
lr = 0.1
[[cells]]
label = 3
lr = "fast"
[[phases]]
at = 0.5
set = { momentum = 1 }
[[claims]]
statement = "x"
measure = "acuracy"
trend = "increasing"
over = "batch_size"
"""


def test_every_key_that_is_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    found = faults(tmp_path, MANY)
    expected = [
        (2, "unknown key 'sedes'"),
        (4, "data.name: "),
        (5, "data.validation: "),
        (8, "unknown key 'model.hiden'"),
        (10, "train.batch_size: "),
        (12, "train.optimizer: "),
        (14, "grid.lr[1]: "),
        (15, "grid.hidden: "),
        (19, "cells[1].label: "),
        (20, "cells[1].lr: "),
        (23, "phases[0].set: "),
        (26, "claims[0].measure: "),
    ]
    assert len(found) == len(expected)
    for (line, text), (wanted, start) in zip(found, expected, strict=True):
        assert (line, text.startswith(start)) == (wanted, True), text


def test_one_fault_is_one_line(tmp_path: Path) -> None:
    path = written(tmp_path, BASE.replace("epochs = 2", "epochs = 0"))
    with pytest.raises(PresetProblem) as caught:
        load_preset(path)
    assert str(caught.value).startswith(f"{path}: line 9: train.epochs: expected an integer")


def test_what_follows_from_another_fault_is_not_told(tmp_path: Path) -> None:
    renamed = BASE.replace("[model]", "[modle]")
    assert [text.partition(";")[0] for _, text in faults(tmp_path, renamed)] == [
        "unknown key 'modle'"
    ]
    renamed = BASE.replace("lr =", "rate =")
    assert [text.partition(";")[0] for _, text in faults(tmp_path, renamed)] == [
        "unknown key 'train.rate'"
    ]
    wrong = BASE.replace("64", '"many"') + "[scaling]\nrule = 'linear'\n"
    assert [line for line, _ in faults(tmp_path, wrong)] == [7]


def test_all_that_is_required_is_told(tmp_path: Path) -> None:
    found = faults(tmp_path, 'title = "Empty"\n[train]\n')
    assert [text.partition(":")[0] for _, text in found] == [
        "data.name",
        "model.name",
        "train.batch_size",
        "train.lr",
        "train",
    ]


def test_settings_that_contradict_each_other_are_all_told(tmp_path: Path) -> None:
    more = "[scaling]\nrule = 'linear'\n[probe]\nat = [0]\npairs = [[8, 12]]\n"
    text = BASE.replace("epochs = 2", "epochs = 2\noptimizer = 'nesterov'\nmomentum = 0")
    found = faults(tmp_path, text + more)
    assert [line for line, _ in found] == [11, 12, 16]


def test_claims_about_what_is_not_there_are_all_told(tmp_path: Path) -> None:
    claim = '[[claims]]\nstatement = "x"\nmeasure = "steps"\nrelation = "less"\nvalue = 3\n'
    text = BASE + claim + "left = { batch_size = 9 }\n" + claim + "left = { lr = 5 }\n"
    assert [line for line, _ in faults(tmp_path, text)] == [15, 21]


@pytest.mark.parametrize(
    ("assignments", "guilty"),
    [
        (["train.lr=-1"], ["train.lr=-1"]),
        (["seeds=2", "train.lrr=1"], ["train.lrr=1"]),
        (["grid.lr=[0.1, 0]", "seeds=2"], ["grid.lr=[0.1, 0]"]),
        (["train=3"], ["train=3"]),
        (["train.steps=3"], ["train.steps=3"]),
        (["source=", "train.epochs="], ["train.epochs="]),
        (["seeds=200000", "source=x"], ["seeds=200000"]),
        (["model.name=lenet", "seeds=2"], ["model.name=lenet"]),
        (["train.lr=-1", "train.lr=-2"], ["train.lr=-2"]),
        (["train.lr=-1", "seeds=0"], ["train.lr=-1", "seeds=0"]),
    ],
)
def test_set_is_to_blame(tmp_path: Path, assignments: list[str], guilty: list[str]) -> None:
    assert sorted(blame(tmp_path, BASE, *assignments)) == sorted(guilty)


def test_the_file_is_to_blame_for_its_own_fault(tmp_path: Path) -> None:
    wrong = BASE.replace("epochs = 2", "epochs = 0")
    assert blame(tmp_path, wrong, "train.momentum=0.5") == [""]
    with pytest.raises(PresetProblem) as caught:
        load_preset(written(tmp_path, wrong), ["train.lr=0"])
    _, first, second = str(caught.value).split("\n")
    assert first.startswith("  --set train.lr=0: expected a number")
    assert second.startswith("  line 9: train.epochs: expected an integer")


def test_several_assignments_that_are_none_are_all_told(tmp_path: Path) -> None:
    with pytest.raises(PresetProblem) as caught:
        load_preset(written(tmp_path, BASE), ["lr=1", "seeds=2", "train.lr"])
    assert [line[:13] for line in str(caught.value).split("\n")[1:]] == [
        "  --set lr=1:",
        "  --set train",
    ]


def test_a_stored_sweep_has_one_fault_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="sedes") as caught:
        load_preset(written(tmp_path, MANY), stored=True)
    assert "\n" not in str(caught.value)


def test_the_editor_gets_a_line_a_fault(tmp_path: Path) -> None:
    path = written(tmp_path, BASE.replace("epochs = 2", "epochs = 0"))
    problem = checked(path, ["train.lr=0"]).problem.split("\n")
    assert [each.partition(": expected")[0] for each in problem] == [
        "train.lr",
        "line 9: train.epochs",
    ]
