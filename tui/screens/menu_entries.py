"""The entries of the menu: presets by group, including invalid ones, and stored sweeps."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from batchscope.engine.analysis.time_estimate import sweep_seconds
from batchscope.engine.devices.devices import cores
from batchscope.engine.errors import Problem
from batchscope.engine.experiment.preset import Preset, load_preset
from batchscope.engine.experiment.preset_catalog import preset_files
from batchscope.engine.formatting import shown_size
from batchscope.engine.sweeps.listing import StoredSweep
from batchscope.engine.sweeps.store import digest_of, sweep_toml
from batchscope.tui.render.styled_text import EMPTY, cell, row, spread
from batchscope.tui.render.units import clock, roughly, when
from batchscope.tui.viewmodel.status_signs import SIGNS
from batchscope.tui.widgets.list_picker import Item

FIRST = "quickstart"
OTHER = "other"
NAME, STATE = 16, 13
ROOMY = 84
REMEMBERED = 2048  # lines of sweeps: most are the same at the next look


@dataclass(frozen=True, slots=True)
class Offer:
    """A preset file with its contents, or with the error in it.

    Attributes:
        seconds: the estimated time on this machine.
        digest: identifies stored sweeps of exactly this preset.
    """

    name: str
    path: Path
    preset: Preset | None
    problem: str = ""
    seconds: float = 0.0
    digest: str = ""

    @property
    def key(self) -> str:
        """The entry's key in the list."""
        return f"preset:{self.name}"

    @property
    def group(self) -> str:
        """The heading above it in the list."""
        return (self.preset.group if self.preset else "") or OTHER

    @property
    def words(self) -> str:
        """The text that the filter searches."""
        said = (self.preset.title, self.preset.question) if self.preset else ("invalid",)
        return " ".join((self.name, self.group, *said)).casefold()


def sweep_key(sweep: StoredSweep) -> str:
    """Return the key of a stored sweep in the list."""
    return f"sweep:{sweep.id}"


def sweep_words(sweep: StoredSweep) -> str:
    """Return the text of a sweep that the filter searches."""
    return " ".join((sweep.id, sweep.preset, sweep.title, sweep.state)).casefold()


def matches(words: str, query: str) -> bool:
    """Return whether every word of the query occurs in the text."""
    return all(part in words for part in query.casefold().split())


def offers() -> list[Offer]:
    """Return the shipped presets by group: the group of the first steps first, no group last.

    An invalid preset is returned with its error.
    """
    listed = [_offer(name, path) for name, path in preset_files().items()]
    first = next((offer.group for offer in listed if offer.name == FIRST), "")
    return sorted(
        listed,
        key=lambda o: (o.group == OTHER, o.group != first, o.group, o.name != FIRST, o.name),
    )


def _offer(name: str, path: Path) -> Offer:
    try:
        preset = load_preset(path)
        seconds = sweep_seconds(preset.foreseen, cores())
        return Offer(name, path, preset, "", seconds, digest_of(sweep_toml(preset)))
    except Problem as problem:
        return Offer(name, path, None, str(problem))


def items(
    chosen: Sequence[Offer],
    sweeps: Sequence[StoredSweep],
    stored: Sequence[StoredSweep],
    marked: frozenset[str],
    width: int,
) -> list[Item]:
    """Return presets under their headings, then sweeps; `stored` gives the times of past runs."""
    listed: list[Item] = []
    group = ""
    for offer in chosen:
        if offer.group != group:
            group = offer.group
            listed.append(Item(row((f" {group}", "dim"))))
        listed.append(preset_item(offer, stored, width))
    if sweeps:
        listed += [EMPTY_ITEM] * bool(listed) + [Item(row((" stored sweeps", "dim")))]
        listed += [sweep_item(sweep, width, sweep.id in marked) for sweep in sweeps]
    return listed


EMPTY_ITEM = Item(EMPTY)
DAMAGED = ("!", "bad")
"""Sign and style of a stored sweep with a damaged file, whatever its state."""


def expectation(offer: Offer, stored: Sequence[StoredSweep]) -> str:
    """Return how long exactly this preset took last time, or an estimate."""
    for sweep in stored:
        if sweep.digest == offer.digest and sweep.state == "finished" and sweep.seconds:
            return f"took {clock(sweep.seconds)}"
    return f"about {roughly(offer.seconds)}"


def preset_item(offer: Offer, stored: Sequence[StoredSweep], width: int) -> Item:
    """Return the line of a preset."""
    name = cell(offer.name, NAME, "strong")
    if offer.preset is None:
        return Item(row(name, " ", ("✗ invalid: enter shows the error", "bad")), offer.key)
    count = offer.preset.trial_count + offer.preset.trials_after_choice
    right = row(
        (f"{count:>4} trials", "dim"),
        cell(expectation(offer, stored), 14, "dim", right=True),
    )
    return Item(spread(row(name, " ", offer.preset.title), right, width), offer.key)


@lru_cache(maxsize=REMEMBERED)
def sweep_item(sweep: StoredSweep, width: int, marked: bool = False) -> Item:
    """Return the line of a stored sweep."""
    sign, style = DAMAGED if sweep.problem else SIGNS.get(sweep.state, ("·", "dim"))
    took = clock(sweep.seconds) if sweep.seconds is not None else ""
    size = [cell(shown_size(sweep.bytes), 10, "dim", right=True)] if width >= ROOMY else []
    right = row(
        (f"{sweep.finished} of {sweep.trials} trials", "dim"),
        *size,
        cell(took, 9, "dim", right=True),
    )
    left = row(
        cell(sweep.preset, NAME, "strong"),
        " ",
        cell(f"{sign} {sweep.state}", STATE, style),
        " ",
        (when(sweep.id), "dim"),
    )
    return Item(spread(left, right, width), sweep_key(sweep), marked)
