"""The figures of a report, one idea each; `pictures` has those that a sweep has something for."""

from collections.abc import Iterator

from batchscope.engine.export.export_reader import Told
from batchscope.engine.export.figures import (
    bias_variance,
    critical,
    curves,
    gradients,
    memory,
    minima,
    probes,
    sizes,
)
from batchscope.engine.export.figures.common import Picture as Picture
from batchscope.engine.export.figures.common import cast_of
from batchscope.engine.journal.sweep_state import SweepState


def pictures(state: SweepState, told: Told) -> Iterator[Picture]:
    """Every figure for which there is something to show; to be drawn where a style holds.

    Whatever the findings have is `told` by them, not judged again. First what only some presets ask
    for: it answers their question.
    """
    cast = cast_of(state, told)
    yield from critical.pictures(told)
    yield from minima.pictures(cast)
    yield from bias_variance.pictures(cast)
    yield from probes.pictures(told)
    yield from sizes.pictures(cast)
    yield from curves.pictures(cast)
    yield from gradients.pictures(cast)
    yield from memory.pictures(cast)
