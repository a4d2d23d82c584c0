"""The functions that read stored files back: what each one returns, and what marks damage."""

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from batchscope.engine.analysis import tables
from batchscope.engine.analysis.completeness import complete
from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.checkpoints import kept_weights
from batchscope.engine.comparison.sources import opened
from batchscope.engine.data.prepare import prepare
from batchscope.engine.data.prepared_files import load_arrays
from batchscope.engine.data.raw_files import DataError
from batchscope.engine.errors import Problem
from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.export.bundle import check_target, exported_sweep, write_export
from batchscope.engine.export.export_reader import Exported
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.registry import TRIAL_COLUMNS
from batchscope.engine.sweeps.listing import describe, stored_sweeps
from batchscope.engine.sweeps.store import load_state, read_launch
from batchscope.engine.sweeps.sweep_file import read_preset
from batchscope.tui.config.settings import load_settings
from batchscope.tui.viewmodel.journal_follower import JournalFollower
from tests.functional.damage.checks import tables as exported_tables
from tests.functional.damage.recording import Places

REFUSALS = (
    *(Problem, DataError, OSError, checkpoints.Damaged, kept_weights.Changed),
    msgspec.MsgspecError,
)
"""The exceptions that say that a file is damaged, and that every caller expects."""


@dataclass(frozen=True)
class Seen:
    """What a reader has returned: its figures, and whatever marks damage."""

    figures: object
    marks: object = None


Reader = Callable[[Places, Path], Seen]
"""Reads the file that may be damaged, or what it belongs to."""


def readers_of(file: str) -> dict[str, Reader]:
    """Return the readers of a file by name; those that no checksum protects return no figures.

    Args:
        file: the file, as a case names it.
    """
    match file.split("/"):
        case ["home", "sweeps", _, "trials", *_]:
            return {"checkpoint": _checkpoint, "resumed": _candidates}
        case ["home", "sweeps", _, "weights", _, kept_weights.NAME]:
            return {"weights": _weights}
        case ["home", "sweeps", _, "weights", *_]:
            return {"checkpoint": _checkpoint}
        case ["home", "sweeps", *_]:
            return {
                "list": _listed,
                "describe": _described,
                "load_state": _loaded,
                "launch": _launch,
                "preset": _stored_preset,
                "follower": _followed,
                "compare": _compared,
            }
        case ["home", "data", *_]:
            return {"data": _data}
        case ["export", name] if name.endswith(".csv"):
            return {"table": _table}
        case ["export", *_]:
            return {"manifest": _manifest, "compare export": _compared_export}
        case ["config", *_]:
            return {"settings": _settings}
        case _:
            return {"preset of a person": _preset}


def export(places: Places, path: Path) -> Seen:
    """Export the sweep of a file: slow, so for a sample of the cases."""
    target = places.root / "in-process"
    write_export(_sweep(places, path), target, report=False, weights=True)
    manifest = Exported(target).manifest
    marks = {key: manifest[key] for key in ("damaged_journal_lines", "complete", "state")}
    return Seen(exported_tables(target), {**marks, "without": manifest["without_weights"]})


def _sweep(places: Places, path: Path) -> Path:
    return places.home / "sweeps" / path.relative_to(places.home).parts[1]


def _figures(state: SweepState) -> list[str]:
    return [
        tables.to_csv(TRIAL_COLUMNS, tables.trial_rows(state)),
        tables.to_csv(tables.EPOCH_COLUMNS, tables.epoch_rows(state)),
    ]


def _marks(state: SweepState) -> object:
    return {"lost": state.lost, "phase": state.phase(False), "complete": complete(state)}


def _listed(places: Places, path: Path) -> Seen:
    found = stored_sweeps(places.home)
    shown = {each.id for each in found}
    hidden = [f for f in (places.home / "sweeps").iterdir() if f.name not in shown]
    if hidden:
        raise AssertionError(f"hidden: {hidden}")
    ours = next(each for each in found if each.id == _sweep(places, path).name)
    return _as_shown(ours)


def _described(places: Places, path: Path) -> Seen:
    return _as_shown(describe(_sweep(places, path)))


def _as_shown(sweep: Any) -> Seen:
    figures = {name: getattr(sweep, name) for name in ("trials", "finished", "seconds", "title")}
    return Seen(
        {**figures, "preset": sweep.preset}, {"state": sweep.state, "problem": sweep.problem}
    )


def _loaded(places: Places, path: Path) -> Seen:
    state = load_state(_sweep(places, path))
    return Seen(_figures(state), _marks(state))


def _launch(places: Places, path: Path) -> Seen:
    return Seen(read_launch(_sweep(places, path)))


def _stored_preset(places: Places, path: Path) -> Seen:
    return Seen(read_preset(_sweep(places, path)))


def _followed(places: Places, path: Path) -> Seen:
    state, update = JournalFollower(_sweep(places, path)).load()
    return Seen(_figures(state), (_marks(state), update.damaged, update.problem))


def _compared(places: Places, path: Path) -> Seen:
    return _side(str(_sweep(places, path)), places)


def _compared_export(places: Places, path: Path) -> Seen:
    return _side(str(places.export), places)


def _side(written: str, places: Places) -> Seen:
    side = opened(written, lambda: places.home)
    marks = {"damaged": side.damaged, "phase": side.phase, "pending": side.pending}
    # a manifest has no checksum: its state is shown as it is written there
    return Seen(_figures(side.state), {**marks, "folded": side.state.phase(False)})


def _checkpoint(places: Places, path: Path) -> Seen:
    checkpoints.latest_header(path.parent)
    header, payload = checkpoints.read(path)
    return Seen((header, payload))


def _candidates(places: Places, path: Path) -> Seen:
    return Seen(sorted(each.name for each in checkpoints.candidates(path.parent)))


def _weights(places: Places, path: Path) -> Seen:
    target = places.root / "copied"
    size = kept_weights.copy(path, target, _digest(places.whole, path))
    return Seen((size, target.read_bytes()))


@functools.cache
def _digest(folder: Path, path: Path) -> str:
    """Return the digest of a file of weights, which the journal holds."""
    trials = load_state(folder).trials.values()
    kept = next(each.weights for each in trials if kept_weights.file_of(folder, each.id) == path)
    assert kept
    return kept.digest


def _data(places: Places, path: Path) -> Seen:
    arrays = load_arrays(prepare("digits", places.home))
    return Seen([hashlib.sha256(array.tobytes()).hexdigest() for array in arrays])


def _manifest(places: Places, path: Path) -> Seen:
    exported_sweep(places.export)
    check_target(places.export, places.whole.name, False)
    found = Exported(places.export)
    with _for_a_report():
        found.manifest  # noqa: B018 (it is read when it is first used)
        found.document  # noqa: B018
    return Seen(None)


def _table(places: Places, path: Path) -> Seen:
    with _for_a_report():
        Exported(places.export).rows(path.name)
    return Seen(None)


@contextlib.contextmanager
def _for_a_report() -> Iterator[None]:
    """Take text that cannot be decoded for a refusal: only a report reads it, freshly written."""
    try:
        yield
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(str(error)) from None


def _settings(places: Places, path: Path) -> Seen:
    load_settings()
    return Seen(None)


def _preset(places: Places, path: Path) -> Seen:
    load_preset(path)
    return Seen(None)
