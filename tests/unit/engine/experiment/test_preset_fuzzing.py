"""Any text and any tables are either read or rejected with a message."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli_w
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from batchscope.engine.errors import Problem
from batchscope.engine.experiment.preset import Preset, assign, load_preset, parse_preset
from batchscope.engine.spec import TABLES
from tests.unit.engine.experiment.preset_fixtures import (
    BASE,
    FULL,
    KEYS,
    base,
    parsed,
    tables,
    written,
)

FUZZED = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def outcome(action: Callable[[], Preset]) -> Preset | str:
    """The preset, or the message of the problem; nothing else may be raised."""
    try:
        return action()
    except Problem as problem:
        return str(problem)


LITERALS = ["1", "2", "0.5", "64", "[1]", "[2, 4]", '"adam"', '"sum"', '"mlp"', '"none"', '"x"']
TOKENS = [
    "nan",
    "-inf",
    "true",
    "-3",
    "0",
    "7.5",
    '"big"',
    "[]",
    "{}",
    "[[1], [2]]",
    "{a = 1}",
    "1979-05-27T07:32:00Z",
    "07:32:00",
    "9" * 30,
    "1e400",
    '"\\u001b[31m"',
    "'''\n'''",
    "[grid]",
    "[[cells]]",
    "[[plan]]",
    "[train]",
    "[claims]",
    "lr = [1, 1.0]",
    'name = ["digits", "mnist"]',
    "train.lr",
    "=",
    ".",
    "#",
    "\n",
    "\x00",
    "\x1b",
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid preset with a few places cut, doubled or replaced."""
    text = draw(st.sampled_from([BASE, FULL]))
    for _ in range(draw(st.integers(1, 3))):
        lines = text.splitlines(keepends=True) or [""]
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["value"] * 4 + ["key", "drop", "double", "insert", "cut"])):
            case "value":
                key, equals, _ = lines[at].partition("=")
                lines[at] = f"{key}{equals} {draw(st.sampled_from(LITERALS + TOKENS[:9]))}\n"
            case "key":
                word = draw(
                    st.sampled_from([*TABLES, "lr", "name", "seeds", "plan", "x", "título"])
                )
                lines[at] = f"{word} ={lines[at].partition('=')[2]}\n"
            case "drop":
                del lines[at]
            case "double":
                lines.insert(at, lines[at])
            case "insert":
                token = draw(st.sampled_from(TOKENS) | st.text(max_size=8))
                column = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:column] + token + lines[at][column:]
            case "cut":
                start = draw(st.integers(0, len(text)))
                text = text[:start] + text[start + draw(st.integers(0, 30)) :]
                lines = text.splitlines(keepends=True)
        text = "".join(lines)
    content = text.encode("utf-8")
    if draw(st.integers(0, 9)):
        return content
    at = draw(st.integers(0, len(content)))
    return content[:at] + draw(st.binary(max_size=3)) + content[at:]


def check(preset: Preset) -> None:
    """What holds for any preset that was taken."""
    texts = (preset.title, preset.question, preset.source, *preset.notes)
    assert preset.title
    assert all(text.isprintable() for text in texts)
    assert all(c.label.isprintable() for c in preset.configurations)
    assert len({c.id for c in preset.configurations}) == len(preset.configurations)
    assert 1 <= preset.trial_count <= 100_000
    again = parse_preset(tomllib.loads(tomli_w.dumps(preset.raw)), preset.name, "again")
    assert again.configurations == preset.configurations
    assert again.plans == preset.plans
    assert (again.title, again.question, again.source) == texts[:3]


@FUZZED
@given(content=mutated())
def test_any_text_is_read_or_rejected_with_a_message(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    found = outcome(lambda: load_preset(path))
    if isinstance(found, str):
        assert found.startswith(f"{path}: ")
        assert all(line.isprintable() for line in found.split("\n"))
    else:
        check(found)


@FUZZED
@given(raw=tables())
def test_any_tables_are_read_or_rejected_with_a_message(raw: dict[str, Any]) -> None:
    found = outcome(lambda: parsed(raw))
    if isinstance(found, str):
        assert found.startswith("file.toml: ")
        assert found.isprintable()
    else:
        check(found)


@FUZZED
@given(
    key=KEYS | st.lists(KEYS, max_size=3).map(".".join),
    value=st.sampled_from(TOKENS) | st.text(max_size=12),
)
@example(key="task.\x1b", value="nan")
@example(key="task.\x1b", value="1")
@example(key="task.\x1b", value="{}")
def test_any_assignment_is_read_or_rejected_with_a_message(key: str, value: str) -> None:
    raw = base()

    def assigned() -> Preset:
        assign(raw, f"{key}={value}")
        return parsed(raw)

    found = outcome(assigned)
    if isinstance(found, str):
        assert found.isprintable()
    else:
        check(found)
