"""The entries of the menu: presets by group, including invalid ones, and stored sweeps."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

from batchscope.engine.analysis.time_estimate import sweep_seconds
from batchscope.engine.devices.devices import cores
from batchscope.engine.errors import printable
from batchscope.engine.experiment.preset import Preset
from batchscope.engine.experiment.preset_folders import FoundPreset, Origin, found_presets
from batchscope.engine.formatting import shown_size
from batchscope.engine.sweeps.listing import StoredSweep
from batchscope.engine.sweeps.store import digest_of, sweep_toml
from batchscope.tui.render.styled_text import EMPTY, cell, clip, row, spread, width_of
from batchscope.tui.render.units import clock, roughly, when
from batchscope.tui.terminal.captures import short_path
from batchscope.tui.viewmodel.result_text import short_result
from batchscope.tui.viewmodel.status_signs import SIGNS
from batchscope.tui.widgets.list_picker import Item

FIRST = "quickstart"
OTHER = "other"
OWN: dict[Origin, str] = {"current": "presets of this folder", "personal": "your presets"}
"""Headings of the presets that do not come with batchscope, before their folder."""
NAME, STATE = 16, 13
ROOMY = 84
MOST_ENTRIES = 2000  # of a folder of a person
APART = 3  # columns around the results in a line
REMEMBERED = 2048  # lines of sweeps: most are the same at the next look


@dataclass(frozen=True, slots=True)
class Offer:
    """A preset file with its contents, or with the error in it.

    Attributes:
        seconds: the estimated time on this machine.
        digest: identifies stored sweeps of exactly this preset.
        origin: whose folder it was found in.
    """

    name: str
    path: Path
    preset: Preset | None
    problem: str = ""
    seconds: float = 0.0
    digest: str = ""
    origin: Origin = "shipped"

    @property
    def key(self) -> str:
        """The entry's key in the list."""
        return f"preset:{self.name if self.origin == 'shipped' else self.path}"

    @property
    def group(self) -> str:
        """The heading above it in the list."""
        if self.origin != "shipped":
            return f"{OWN[self.origin]}: {self.path.parent}"
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


def offers(current: Path | None = None, personal: Path | None = None) -> list[Offer]:
    """Return presets: those of a person's own folders, then the shipped ones by group.

    Of these the group of the first steps is first, and no group last. An invalid preset is returned
    with its error.

    Args:
        current: the current folder, if its presets are offered too.
        personal: the folder of a person's presets, if they are offered too.
    """
    found = [_offer(each) for each in found_presets(current, personal)]
    # the first entry is selected when the menu opens, so an invalid one is not first
    own = sorted(
        (offer for offer in found if offer.origin != "shipped"),
        key=lambda o: (list(OWN).index(o.origin), o.preset is None),
    )
    shipped = [offer for offer in found if offer.origin == "shipped"]
    first = next((offer.group for offer in shipped if offer.name == FIRST), "")
    return own + sorted(
        shipped,
        key=lambda o: (o.group == OTHER, o.group != first, o.group, o.name != FIRST, o.name),
    )


def stamps(*folders: Path | None) -> frozenset[tuple[str, int, int]]:
    """Return what changes when presets or modules of a person's own folders do.

    These are names, times and sizes of the files that end in .toml or .py.
    """
    known = set()
    for folder in folders:
        if folder is None:
            continue
        try:
            with os.scandir(folder) as entries:
                for entry in islice(entries, MOST_ENTRIES):
                    if entry.name.endswith((".toml", ".py")):
                        of = entry.stat()
                        known.add((entry.path, of.st_mtime_ns, of.st_size))
        except OSError:
            continue
    return frozenset(known)


def _offer(found: FoundPreset) -> Offer:
    preset = found.preset
    if preset is None:
        return Offer(found.name, found.path, None, found.problem, origin=found.origin)
    seconds = sweep_seconds(preset.foreseen, cores())
    digest = digest_of(sweep_toml(preset))
    return Offer(found.name, found.path, preset, "", seconds, digest, found.origin)


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
            listed.append(Item(row((_heading(offer, width), "dim"))))
        listed.append(preset_item(offer, stored, width))
    if sweeps:
        listed += [EMPTY_ITEM] * bool(listed) + [Item(row((" stored sweeps", "dim")))]
        listed += [sweep_item(sweep, width, sweep.id in marked) for sweep in sweeps]
    return listed


def _heading(offer: Offer, width: int) -> str:
    if offer.origin == "shipped":
        return f" {offer.group}"
    title = f" {OWN[offer.origin]}  "
    return title + short_path(offer.path.parent, max(1, width - len(title)))


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
        why = "✗ invalid: enter shows the error"
        if offer.origin != "shipped":
            why = f"✗ {_without_paths(offer)}"
        return Item(clip(row(name, " ", (why, "bad")), width), offer.key)
    count = offer.preset.trial_count + offer.preset.trials_after_choice
    right = row(
        (f"{count:>4} trials", "dim"),
        cell(expectation(offer, stored), 14, "dim", right=True),
    )
    return Item(spread(row(name, " ", offer.preset.title), right, width), offer.key)


def _without_paths(offer: Offer) -> str:
    """Return what is wrong with a preset, without the folder that the heading names."""
    problem = offer.problem.partition("\n")[0].removeprefix(f"{printable(offer.path)}: ")
    return problem.replace(f"{printable(offer.path.resolve().parent)}/", "")


@lru_cache(maxsize=REMEMBERED)
def sweep_item(sweep: StoredSweep, width: int, marked: bool = False) -> Item:
    """Return the line of a stored sweep."""
    sign, style = DAMAGED if sweep.problem else SIGNS.get(sweep.state, ("·", "dim"))
    word = sweep.state
    if sweep.state == "finished" and not sweep.finished and not sweep.alive:
        (sign, style), word = SIGNS["failed"], "no result"
    took = clock(sweep.seconds) if sweep.seconds is not None else ""
    left = row(
        cell(sweep.preset, NAME, "strong"),
        " ",
        cell(f"{sign} {word}", STATE, style),
        " ",
        (when(sweep.id), "dim"),
    )
    size = [cell(shown_size(sweep.bytes), 10, "dim", right=True)] if width >= ROOMY else []
    right = row(
        (f"{sweep.finished} of {sweep.trials} trials", "dim"),
        *size,
        cell(took, 9, "dim", right=True),
    )
    result = short_result(sweep.metric, sweep.best, sweep.worst)
    if result and width_of(left) + width_of(right) + len(result) + APART <= width:
        left = row(*left, "  ", result)
    return Item(spread(left, right, width), sweep_key(sweep), marked)


def resumable(sweep: StoredSweep) -> bool:
    """Return whether a sweep does not run and is not finished."""
    return not sweep.alive and sweep.state != "finished"


def not_editable(offer: Offer | None) -> str:
    """Return why the selected entry has no form."""
    if offer:
        return f"{offer.name} cannot be edited: its file has an error. enter shows it"
    return "Select an experiment or a stored sweep to edit its settings"
