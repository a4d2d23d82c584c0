"""The curves of a report: what the axis leaves out, what a diverging seed does, where bands end."""

import numpy as np

from batchscope.engine.export import plot_style
from batchscope.engine.export.export_reader import ExportedFigures, ExportedFindings
from batchscope.engine.export.figures import curves
from batchscope.engine.export.figures.common import Cast, Picture
from batchscope.engine.journal.events import AnyEvent
from batchscope.engine.journal.sweep_state import SweepState
from tests.unit.training_fixtures import configuration, epochs, opened, record, started


def drawn(accuracies: list[list[float]], losses: list[list[float]]) -> dict[str, Picture]:
    """The curves of one configuration, a row a seed."""
    of = configuration(8, seeds=len(accuracies))
    events: list[AnyEvent] = opened([of])
    for seed, rows in enumerate(zip(accuracies, losses, strict=True)):
        events.append(started(of, seed))
        told = [
            record(n, test_accuracy=one, test_loss=other)
            for n, (one, other) in enumerate(zip(*rows, strict=True), start=1)
        ]
        events.append(epochs(of, *told, seed=seed))
    told_of = ExportedFindings(claims=(), recommendation="", findings=ExportedFigures())
    cast = Cast(SweepState().fold(events), told_of, (of.id,))
    with plot_style.styled("key"):
        return {each.name: each for each in curves.pictures(cast)}


LEVEL = [[1.0] * 11] * 2


def limits(of: Picture) -> tuple[float, float]:
    low, high = of.figure.axes[0].get_ylim()
    return low, high


def test_a_closer_look_keeps_the_bands_of_all_that_follows_inside() -> None:
    one, other = [0.1, *[0.90] * 10], [0.1, *[0.94] * 10]
    found = drawn([one, other], LEVEL)["accuracy_curves"]
    low, high = limits(found)
    spread = 100 * 0.04 / 2**0.5
    room = 0.05 * 2 * spread
    assert abs(low - (92 - spread - room)) < 1e-6
    assert abs(high - (92 + spread + room)) < 1e-6
    assert "outside the axis" in found.caption


def test_where_the_seeds_stray_as_far_as_the_beginning_nothing_is_left_out() -> None:
    found = drawn([[0.3, *[0.2] * 10], [0.3, *[0.9] * 10]], LEVEL)["accuracy_curves"]
    assert "outside the axis" not in found.caption
    assert limits(found)[0] < 20


def test_bands_end_where_an_accuracy_ends() -> None:
    found = drawn([[0.5] * 11, [1.0] * 11, [1.0] * 11], [[1.0] * 11] * 3)["accuracy_curves"]
    assert "cut off at 0 and 100 %" in found.caption
    band = np.asarray(found.figure.axes[0].collections[0].get_paths()[0].vertices)
    assert band[:, 1].max() == 100.0
    assert "cut off" not in drawn([[0.5] * 11] * 2, LEVEL)["accuracy_curves"].caption


def test_a_loss_that_diverges_has_a_logarithmic_axis() -> None:
    calm = [[0.5] * 11] * 2
    found = drawn(calm, [[1.0] * 11, [1.0, *[9e10] * 10]])["loss_curves"]
    axes = found.figure.axes[0]
    assert axes.get_yscale() == "log"
    low, high = limits(found)
    assert low == 1 / 1.5
    assert 9e10 < high < 1e12
    assert "cut off at 0." in found.caption
    assert drawn(calm, LEVEL)["loss_curves"].figure.axes[0].get_yscale() == "linear"
