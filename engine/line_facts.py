"""What events say of a line through the weights."""

from msgspec import Struct


class LinePoint(Struct, frozen=True, array_like=True):
    """Figures at (1 − `alpha`) · w_start + `alpha` · w_end.

    Losses are means per sample, accuracies fractions. A loss that is not finite is None.
    """

    alpha: float
    train_loss: float | None
    train_accuracy: float
    test_loss: float | None
    test_accuracy: float
