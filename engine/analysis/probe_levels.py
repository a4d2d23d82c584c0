"""The levels of a trend within one training: batch sizes that the probe drew, or pairs of them."""

from collections.abc import Iterable

from batchscope.engine.data.validation_split import training_size
from batchscope.engine.experiment.selectors import Ladder
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.probe_values import PAIRS, is_probed
from batchscope.engine.schedule.probe_sizes import UNBOUNDED, competing_pairs, drawn_sizes
from batchscope.engine.spec import Configuration, Settings


def ladder_within(
    state: SweepState,
    over: str,
    at_share: float | None = None,
    among: Iterable[Configuration] | None = None,
) -> Ladder:
    """Return the levels of `probe.batch_sizes` or `probe.pairs`, each with its configurations.

    Only configurations probed at the same levels are averaged, since a level with other
    configurations than the next would look like an effect; those probed at most levels count.
    """
    levels = {
        each.id: _levels(state, each.settings, over)
        for each in (state.configurations.values() if among is None else among)
        if is_probed(each, over, at_share)
    }
    longest = max(levels.values(), key=len, default=())
    probed = [state.configurations[name] for name in levels]
    kept = tuple(each for each in probed if levels[each.id] == longest)
    aside = tuple(each for each in probed if levels[each.id] != longest)
    return Ladder(dict.fromkeys(longest, kept), aside)


def _levels(state: SweepState, settings: Settings, over: str) -> tuple[float, ...]:
    """Return the probed batch sizes, or the large batch sizes of the pairs."""
    data = state.data.get(settings.data.name)
    size = training_size(settings.data, data.train) if data else UNBOUNDED
    if over == PAIRS:
        return tuple(sorted({large for _, large in competing_pairs(settings, size)}))
    return drawn_sizes(settings, size) if settings.probe.batch_sizes else ()
