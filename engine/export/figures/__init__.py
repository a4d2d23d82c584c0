"""The figures of a report, one idea each; `pictures` has those that a sweep has something for."""

from collections.abc import Iterator

from engine.export.exported import Told
from engine.export.figures import (
    critical,
    curves,
    gradients,
    memory,
    minima,
    parting,
    probes,
    sizes,
)
from engine.export.figures.common import Picture as Picture
from engine.export.figures.common import cast_of
from engine.state import SweepState


def pictures(state: SweepState, told: Told) -> Iterator[Picture]:
    """Every figure for which there is something to show; to be drawn where a style holds.

    Whatever the findings have is `told` by them, not judged again. First what only some presets ask
    for: it answers their question.
    """
    cast = cast_of(state, told)
    yield from critical.pictures(told)
    yield from minima.pictures(cast)
    yield from parting.pictures(cast)
    yield from probes.pictures(told)
    yield from sizes.pictures(cast)
    yield from curves.pictures(cast)
    yield from gradients.pictures(cast)
    yield from memory.pictures(cast)
