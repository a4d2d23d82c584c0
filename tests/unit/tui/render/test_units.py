"""Numbers of any size in few cells."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.tui.render.units import UNKNOWN, digits


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0.0000"),
        (0.0612, "0.0612"),
        (1.0252, "1.0252"),
        (12.345, "12.345"),
        (-123.45, "-123.45"),
        (23456.7, "23457"),
        (1.23e6, "1.2e6"),
        (2e-5, "2.0e-5"),
        (None, UNKNOWN),
        (math.inf, UNKNOWN),
    ],
)
def test_a_number_keeps_its_leading_digits(value: float | None, shown: str) -> None:
    assert digits(value) == shown


@given(st.floats(1e-99, 1e99))
def test_it_fits_its_cells(value: float) -> None:
    assert len(digits(value)) <= 7
