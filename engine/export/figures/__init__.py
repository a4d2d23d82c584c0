"""The figures of a report, one idea each; `pictures` has those that a sweep has something for."""

from collections.abc import Iterator

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
from engine.findings.report import find
from engine.state import SweepState


def pictures(state: SweepState) -> Iterator[Picture]:
    """Every figure for which there is something to show; to be drawn where a style holds.

    First what only some presets ask for: it answers their question.
    """
    cast, found = cast_of(state), find(state)
    yield from critical.pictures(found)
    yield from minima.pictures(cast)
    yield from parting.pictures(cast, found)
    yield from probes.pictures(state)
    yield from sizes.pictures(cast)
    yield from curves.pictures(cast)
    yield from gradients.pictures(cast)
    yield from memory.pictures(state)
