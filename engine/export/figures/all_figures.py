"""Every figure that a sweep has something for, in the order of the report."""

from collections.abc import Iterator

from batchscope.engine.export.export_reader import ExportedFindings
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
from batchscope.engine.export.figures.common import Picture, cast_of
from batchscope.engine.journal.sweep_state import SweepState


def pictures(state: SweepState, document: ExportedFindings) -> Iterator[Picture]:
    """Every figure for which there is something to show; to be drawn where a style holds.

    Whatever the `document` of the findings has is read there, not judged again. First what only
    some presets ask for: it answers their question.
    """
    cast = cast_of(state, document)
    yield from critical.pictures(document)
    yield from minima.pictures(cast)
    yield from bias_variance.pictures(cast)
    yield from probes.pictures(document)
    yield from sizes.pictures(cast)
    yield from curves.pictures(cast)
    yield from gradients.pictures(cast)
    yield from memory.pictures(cast)
