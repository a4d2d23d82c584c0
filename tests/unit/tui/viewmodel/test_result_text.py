"""The results of a sweep in a few words."""

import pytest

from batchscope.tui.viewmodel.result_text import result_text, short_result


@pytest.mark.parametrize(
    ("measure", "best", "worst", "text"),
    [
        ("test_mae", 0.5609, 0.6059, "test mae 0.561 to 0.606"),
        ("test_accuracy", 0.941, 0.9, "test accuracy 94.10 to 90.00 %"),
        ("validation_top_5", 0.5, 0.5, "validation top 5 0.500"),
        ("train_loss", 1e-5, 2e5, "training loss 1.0e-5 to 2.0e5"),
        ("", None, None, ""),
        ("test_mae", None, None, ""),
    ],
)
def test_metric_and_both_ends(
    measure: str, best: float | None, worst: float | None, text: str
) -> None:
    assert result_text(measure, best, worst) == text


def test_a_name_from_a_journal_cannot_move_the_cursor() -> None:
    assert "\x1b" not in result_text("test_\x1b[2J", 1.0, 1.0)


def test_the_short_form() -> None:
    assert short_result("test_mae", 0.5609, 0.6059) == "mae 0.561–0.606"
    assert short_result("test_accuracy", 0.941, 0.9) == "accuracy 94.1–90.0 %"
    assert short_result("", None, None) == ""
