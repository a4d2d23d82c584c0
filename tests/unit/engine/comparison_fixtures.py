"""Two sweeps to compare, put together without a training."""

from collections.abc import Sequence
from typing import Any

from batchscope.engine.comparison.sources import Opened
from batchscope.engine.journal import events as ev
from batchscope.engine.spec import Configuration
from tests.unit.engine.findings_fixtures import TEST_SIZE, TRAIN_SIZE, Ended, configuration, sweep

ONE, OTHER = (0.90, 0.91, 0.94), (0.93, 0.95, 0.95)


def side(
    *values: tuple[Configuration, Sequence[float | Ended]], id: str = "a", **more: Any
) -> Opened:
    told = {"versions": {"torch": "2.13"}, "damaged": 0, "phase": "finished", **more}
    return Opened(written=id, id=id, state=sweep(values), **told)


def images(of: Opened, digest: str) -> Opened:
    """With other test images."""
    of.state.data["digits"] = ev.DataReady(
        name="digits", train=TRAIN_SIZE, test=TEST_SIZE, shape=(1, 8, 8), digest=digest
    )
    return of


def aimed(steps: Sequence[int], target: float = 0.8) -> tuple[Configuration, list[Ended]]:
    return (
        configuration(target_accuracy=target),
        [Ended(0.85 if each else 0.7, figures={"steps": each or 99}) for each in steps],
    )
