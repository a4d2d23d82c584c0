"""All figures of a sweep, in the order of the report."""

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
    """Yield every figure for which there are data; call it inside a plot style.

    What `findings.json` (`document`) has is read from there and not computed again. Figures that
    only some presets have are first, since they answer the question of the preset.
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
