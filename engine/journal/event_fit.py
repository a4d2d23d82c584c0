"""Decides whether an event fits the state that the events before it gave.

Every event of an undamaged journal does. In a damaged one a line may be lost that others refer to,
or the lines of another sweep may follow.
"""

from collections.abc import Container

from batchscope.engine.journal import events as ev


def fits(
    event: ev.AnyEvent,
    opened: ev.SweepOpened | None,
    configurations: Container[str],
    trials: Container[str],
) -> bool:
    """Return whether everything that an event names is known.

    Args:
        event: the event.
        opened: the first event of the sweep; None before it.
        configurations: ids of the known configurations.
        trials: ids of the known trials.
    """
    match event:
        case ev.Note() | ev.JournalOpened():
            return True
        case ev.SweepOpened():
            return opened is None or opened.id == event.id
        case ev.Planned():
            return all(member in trials for member in event.plan.members)
        case ev.Interpolated():
            return event.start in trials and event.end in trials
        case ev.ConfigurationsAdded():
            return all(
                not each.confirms or each.confirms in configurations
                for each in event.configurations
            )
        case ev.EpochsFinished():
            return event.trial in trials and bool(event.records)
    name = getattr(event, "trial", None)
    return name is None or name in trials
