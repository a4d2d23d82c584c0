"""The reference in `docs/presets.md` matches the types, and its examples are valid presets."""

import inspect
import re
import tomllib

import make_presets
import msgspec
import pytest

from batchscope.engine import spec
from batchscope.engine.experiment.preset import parse_preset

TEXT = make_presets.PAGE.read_text(encoding="utf-8")
STRUCTS = [*spec.TABLES.values(), spec.Phase, spec.Selection, spec.Claim, spec.Interpolation]
EXAMPLES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
WHOLE = tomllib.loads(EXAMPLES[0])


def test_the_page_is_up_to_date() -> None:
    assert make_presets.page(TEXT) == TEXT, "run docs/make_presets.py"


@pytest.mark.parametrize("kind", STRUCTS)
def test_every_key_of_every_table_is_documented(kind: type[msgspec.Struct]) -> None:
    assert TEXT.count(f"<!-- table: {kind.__name__} -->") == 1
    words = make_presets.words_of(kind)
    assert list(words) == [
        name
        for name in kind.__struct_fields__
        if name not in make_presets.NOT_WRITTEN.get(kind.__name__, ())
    ]
    assert all(text.endswith(".") and "|" not in text for text in words.values())


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("scaling.rule", '| `rule` | one of adam-sqrt, linear, none, sqrt | `"none"` |'),
        (
            "schedule.at",
            "| `at` | a list of at most 32, each entry a number (above 0 and below 1) |  |",
        ),
        ("interpolation.from", "| `from` | a table | required |"),
        ("phases.set.lr", "| `set.lr` | a number (above 0) |  |"),
        ("claims.left", "| `left` | a table |  |"),
        ("select.by", "| `by` | a string |"),
    ],
)
def test_rows_of_the_reference(key: str, told: str) -> None:
    assert told in TEXT, key


def test_the_docstring_of_a_field_is_joined_to_one_line() -> None:
    class Told(msgspec.Struct):
        """A struct with a field."""

        key: int = 1
        """What it does,
        over two lines."""
        other: int = 2

    assert make_presets.words_of(Told) == {"key": "What it does, over two lines."}


def test_docstrings_of_fields_are_not_loaded_at_run_time() -> None:
    words = make_presets.words_of(spec.Train)["lr"]
    assert words in " ".join(inspect.getsource(spec).split())
    compiled = [compile(inspect.getsource(spec), "spec.py", "exec")]
    while compiled:
        code = compiled.pop()
        assert words not in code.co_consts
        compiled += [each for each in code.co_consts if hasattr(each, "co_consts")]


def test_the_example_is_a_preset() -> None:
    preset = parse_preset(WHOLE, "example", "presets.md")
    assert preset.trial_count == 20
    assert len(preset.claims) == 1


@pytest.mark.parametrize("example", EXAMPLES[1:])
def test_the_other_examples_are_valid_in_a_preset(example: str) -> None:
    raw = {**WHOLE, "grid": {"batch_size": [64, 1024]}, "claims": []}
    raw["train"] = {**WHOLE["train"], "lr": 0.1}
    assert parse_preset({**raw, **tomllib.loads(example)}, "example", "presets.md").configurations
