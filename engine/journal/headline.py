"""The figure by which an epoch is told in a line: its accuracy, or else its loss."""

from typing import NamedTuple

from batchscope.engine.journal.events import EpochRecord


class Headline(NamedTuple):
    """An epoch's accuracy, or its loss where there is no accuracy.

    Attributes:
        name: `accuracy` or `loss`.
        train: its value on training data; None if it is not finite.
        test: its value on test data, or on validation data where there are no test data.
        part: `test` or `validation`; empty if there are neither.
    """

    name: str
    train: float | None
    test: float | None
    part: str

    @property
    def shown(self) -> str:
        """Return the most telling value, with four digits: that of `part`, or else of training."""
        return number(self.test if self.part else self.train)

    @property
    def text(self) -> str:
        """Return the value with its name: `test accuracy 0.9412`."""
        return f"{self.part or 'training'} {self.name} {self.shown}"


def headline(record: EpochRecord) -> Headline:
    """Return the headline of an epoch."""
    name = "loss" if record.train_accuracy is None else "accuracy"
    train, test, held = (
        (record.train_loss, record.test_loss, record.validation_loss)
        if name == "loss"
        else (record.train_accuracy, record.test_accuracy, record.validation_accuracy)
    )
    if test is not None or held is None:
        return Headline(name, train, test, "" if test is None else "test")
    return Headline(name, train, held, "validation")


def number(value: float | None) -> str:
    """Return a value with four decimals, or four digits if it is large; `-` if unknown."""
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.4g}"
