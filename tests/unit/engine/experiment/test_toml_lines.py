"""The line of every key of a TOML text, in each way to write it."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.engine.experiment.preset_catalog import preset_files
from batchscope.engine.experiment.toml_lines import lines_of
from tests.unit.engine.experiment.preset_fixtures import FULL

TEXT = '''\
# title = "no"
title = "a # [b] \\" = c"   # said
"quoted key" = 1
[train]
lr = 0.1
momentum = 0.9  # [model]
schedule.kind = "step"

[ model . deep ]
hidden = [
    32,  # ]
    [1, 2], 3,
]
[grid]
train.lr = [0.1, 0.2]
"train.epochs" = [1]
[[cells]]
batch_size = 8
[[cells]]
label = """
[grid]
x = 3"""
inner = { a = 1, b.c = [{ d = 2 }], e = '}' }
[cells.below]
when = 1979-05-27 07:32:00
literal = \'\'\'
=\'\'\'
last = true
'''


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("title", 2),
        ("quoted key", 3),
        ("train", 4),
        ("train.lr", 5),
        ("train.momentum", 6),
        ("train.schedule.kind", 7),
        ("model.deep", 9),
        ("model.deep.hidden", 10),
        ("model.deep.hidden[0]", 11),
        ("model.deep.hidden[1][1]", 12),
        ("grid.train.lr[1]", 15),
        ("grid.train.epochs", 16),
        ("cells[0]", 17),
        ("cells[0].batch_size", 18),
        ("cells[1]", 19),
        ("cells[1].label", 20),
        ("cells[1].inner.a", 23),
        ("cells[1].inner.b.c[0].d", 23),
        ("cells[1].below", 24),
        ("cells[1].below.when", 25),
        ("cells[1].below.last", 28),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines(key: str, line: int, end: str) -> None:
    text = TEXT.replace("\n", end)
    tomllib.loads(text)
    assert lines_of(text)[key] == line


def leaves(value: Any, path: str = "") -> set[str]:
    if isinstance(value, dict):
        inner = [leaves(each, f"{path}.{key}" if path else key) for key, each in value.items()]
        return {path, *(each for some in inner for each in some)} - {""}
    if isinstance(value, list):
        inner = [leaves(each, f"{path}[{index}]") for index, each in enumerate(value)]
        return {path, *(each for some in inner for each in some)}
    return {path}


def test_every_key_of_every_shipped_preset_has_its_line() -> None:
    for path in preset_files().values():
        text = path.read_text("utf-8")
        lines = lines_of(text)
        written = text.split("\n")
        arrays = {"cells", "claims", "phases"}
        for key in leaves(tomllib.loads(text)) - arrays:
            assert key.rpartition(".")[2].partition("[")[0] in written[lines[key] - 1] or "[" in key


@given(st.text(alphabet="a.=[]{}\"'\\\n#, 1", max_size=40))
def test_any_text_is_survived(text: str) -> None:
    assert all(0 < line <= text.count("\n") + 1 for line in lines_of(text).values())


@given(st.integers(0, len(FULL)), st.sampled_from(["[", "{", '"""', "'", "=", "]"]))
def test_a_text_that_is_not_understood_keeps_the_lines_before(cut: int, sign: str) -> None:
    whole = lines_of(FULL)
    found = lines_of(FULL[:cut] + sign)
    before = FULL[:cut].count("\n")
    for key, line in whole.items():
        if line <= before and key in found:
            assert found[key] == line
