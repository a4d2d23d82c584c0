"""A value as a TOML literal on one line: it reads back unchanged and is printable."""

import datetime
import tomllib
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from batchscope.engine.experiment.toml_literal import literal

SCALARS = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"))
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_a_literal_reads_back_as_the_value(value: Any) -> None:
    written = literal(value)
    assert written.isprintable()
    assert tomllib.loads(f"value = {written}")["value"] == value


@given(SCALARS)
def test_a_literal_equals_that_of_tomli_w(value: Any) -> None:
    written = tomllib.loads(tomli_w.dumps({"value": value}))
    assert tomllib.loads(f"value = {literal(value)}") == written


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([8, 16], "[8, 16]"),
        ("adam", '"adam"'),
        (True, "true"),
        (1e-05, "1e-05"),
        ({"batch_size": 8, "a b": [{}]}, '{batch_size = 8, "a b" = [{}]}'),
        ("\x1b[2J\u202e", '"\\u001b[2J\\u202e"'),
        (float("inf"), "inf"),
        (datetime.date(2027, 1, 15), "2027-01-15"),
    ],
)
def test_literals(value: Any, expected: str) -> None:
    assert literal(value) == expected
