"""The figure of a line, in as many digits as tell something."""

import pytest

from batchscope.engine.journal.headline import number


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0.0, "0.0000"),
        (0.94125, "0.9413"),
        (1e-3, "0.0010"),
        (4.4e-5, "4.40e-05"),
        (-2.345e-4, "-2.35e-04"),
        (12.3456, "12.35"),
        (123456.0, "1.235e+05"),
    ],
)
def test_a_number_keeps_the_digits_that_count(value: float | None, shown: str) -> None:
    assert number(value) == shown
