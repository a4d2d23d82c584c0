"""Writes an export: all files into a new folder, which then replaces the old one in one step."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from batchscope import __version__
from batchscope.engine.analysis import tables
from batchscope.engine.analysis.bias_variance import BiasVariance, bias_variances
from batchscope.engine.analysis.completeness import complete, standing
from batchscope.engine.errors import MachineProblem, UsageProblem, printable
from batchscope.engine.export import (
    layer_table,
    memory_table,
    minima_tables,
    probe_tables,
    report_process,
)
from batchscope.engine.export.atomic_folder import beside, replace
from batchscope.engine.export.own_files import MANIFEST as MANIFEST
from batchscope.engine.export.own_files import carry_over, digests, listed_files
from batchscope.engine.export.tensorboard import write_event_files
from batchscope.engine.export.weights import CopiedWeights, copy_weights
from batchscope.engine.findings.findings import document
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.store import SWEEP, conductor_lives
from batchscope.engine.sweeps.stored_journal import (
    note_damage,
    reader_of,
    refuse_later,
    unreadable,
)
from batchscope.engine.sweeps.sweep_file import other_sweep, read_raw
from batchscope.engine.system.files import remove
from batchscope.engine.system.untrusted_files import decode_json, open_regular, read_bytes

FINDINGS = "findings.json"
FORMAT = 1
PIECE = 1 << 20
OVERWRITE = ", or add --overwrite to write into it"


def check_target(
    target: Path, sweep: str | None, overwrite: bool, mending: str = OVERWRITE
) -> None:
    """Check, before anything is run, that an export may replace a folder.

    Args:
        sweep: the sweep that is exported; its own earlier export may be replaced.
        mending: what a person can do besides naming another folder.

    Raises:
        UsageProblem: it is a file, or has other content than an export of `sweep`.
        MachineProblem: it cannot be written.
    """
    shown = printable(target)
    try:
        if target.exists() and not target.is_dir():
            raise UsageProblem(f"--export {shown}: is a file; name a folder")
        above = next((each for each in target.parents if each.exists()), target.parent)
        if not above.is_dir():
            raise UsageProblem(f"--export {shown}: {printable(above)} is a file, not a folder")
        if target.is_mount():
            raise UsageProblem(f"--export {shown}: is a mounted disk; name a folder inside it")
        if target.is_dir() and any(target.iterdir()) and not overwrite:
            held = exported_sweep(target)
            if held is None or sweep is None or held != printable(sweep):
                what = f"the export of sweep {held}" if held else "other files"
                raise UsageProblem(f"--export {shown}: holds {what}; name another folder{mending}")
        with beside(target):
            pass
    except OSError as error:
        raise MachineProblem(f"--export {shown}: {error.strerror or error}") from None


def exported_sweep(target: Path) -> str | None:
    """Return the id of the exported sweep in a folder, from its manifest; None without one."""
    try:
        manifest = read_manifest(target)
        return printable(manifest["sweep"]) if manifest["program"] == "batchscope" else None
    except (OSError, msgspec.MsgspecError, KeyError, TypeError):
        return None


def read_manifest(target: Path) -> dict[str, Any]:
    """Return the manifest of an export.

    Raises:
        OSError: it cannot be read.
        MsgspecError: it is not a JSON object.
    """
    return decode_json(read_bytes(target / MANIFEST), dict[str, Any])


def write_export(
    folder: Path,
    target: Path,
    *,
    report: bool = True,
    tensorboard: bool = False,
    weights: bool = False,
    kept: Callable[[list[str]], None] | None = None,
) -> SweepState:
    """Export the sweep in `folder` to `target`, replacing an export there; return its state.

    Files in `target` that no export made, or that were changed since, are kept.

    Args:
        report: whether to draw the report and its figures.
        tensorboard: whether to write event files.
        weights: whether to copy the final weights of the trials.
        kept: is called with the new names of files that are kept under another name, if any.

    Raises:
        UsageProblem: the journal is damaged so that it cannot be exported.
        MachineProblem: the disk cannot be read or written, or a file cannot be kept, and `target`
            is unchanged; or the report cannot be drawn, and `target` has everything else.
    """
    alive = conductor_lives(folder)  # first, so that its last events are read below
    reader = reader_of(folder)
    try:
        events = reader.read_all()
    except OSError as error:
        raise unreadable(reader.path, error) from None
    state = SweepState().fold(events)
    note_damage(state, reader)
    refuse_later(state, reader.path)
    if not os.path.lexists(reader.path):
        raise UsageProblem(f"{printable(reader.path)}: is missing, so there is nothing to export")
    if state.opened is None and state.lost:
        raise UsageProblem(
            f"{printable(reader.path)}: the line about the experiment is damaged, and {SWEEP} "
            "cannot replace it, so there is nothing to export"
        )
    try:
        with beside(target) as fresh:
            copied = copy_weights(folder, fresh, state) if weights else None
            for name, text in _documents(folder, state, alive, copied).items():
                (fresh / name).write_text(text, encoding="utf-8")
            if tensorboard:
                write_event_files(fresh, state, events)
            _copy(reader.path, fresh / journal.NAME, reader.offset)
            missing = _missing_report(fresh) if report else ""
            about = {**read_manifest(fresh), "files": digests(fresh)}
            (fresh / MANIFEST).write_text(_json(about), encoding="utf-8")
            fresh.chmod(0o755)
            renamed = _replace(fresh, target)
    except OSError as error:
        raise MachineProblem(f"--export {printable(target)}: {error.strerror or error}") from None
    if renamed and kept:
        kept(renamed)
    if missing:
        raise MachineProblem(f"--export {printable(target)}: the tables are written, but {missing}")
    return state


def _replace(fresh: Path, target: Path) -> list[str]:
    """Put a new export in the place of a folder; return the names of files kept under another."""
    if not target.is_dir():
        replace(fresh, target)
        return []
    listed = listed_files(_manifest_of(target))
    renamed = carry_over(target, fresh, listed)
    # what was written into the old folder meanwhile is kept, too
    replace(fresh, target, lambda old: renamed.extend(carry_over(old, target, listed)))
    return renamed


def _manifest_of(target: Path) -> dict[str, Any] | None:
    """Return the manifest of a folder; None if it holds no export."""
    return None if exported_sweep(target) is None else read_manifest(target)


def _missing_report(fresh: Path) -> str:
    """Draw the report into a new export; return why it has none, or an empty string."""
    try:
        report_process.draw(fresh)
    except MachineProblem as problem:
        for half_drawn in (report_process.REPORT, report_process.FIGURES):
            remove(fresh / half_drawn)
        return str(problem)
    return ""


def _documents(
    folder: Path, state: SweepState, alive: bool, weights: CopiedWeights | None
) -> dict[str, str]:
    about_weights = msgspec.to_builtins(weights) if weights else {}
    return {
        "trials.csv": tables.to_csv(tables.trial_columns(state), tables.trial_rows(state)),
        "epochs.csv": tables.to_csv(tables.epoch_columns(state), tables.epoch_rows(state)),
        "gradient_norms.csv": tables.to_csv(tables.NORM_COLUMNS, tables.norm_rows(state)),
        "layer_norms.csv": tables.to_csv(layer_table.LAYER_COLUMNS, layer_table.layer_rows(state)),
        "sweep.toml": sweep_toml(folder, state),
        "memory.csv": tables.to_csv(memory_table.MEMORY_COLUMNS, memory_table.memory_rows(state)),
        FINDINGS: _json(document(state)),
        MANIFEST: _json({**manifest(folder, state, alive), **about_weights}),
        **_probe_tables(state),
        "bias_variance.csv": bias_variance_csv(state),
        **_minima_tables(state),
    }


def bias_variance_csv(state: SweepState) -> str:
    """Return one row for each configuration with three finished seeds."""
    rows = (msgspec.structs.asdict(each) for each in bias_variances(state))
    return tables.to_csv(BiasVariance.__struct_fields__, rows)


def _probe_tables(state: SweepState) -> dict[str, str]:
    """Return the tables of the probe; none for a sweep without `[probe]`."""
    if not any(each.settings.probe.at for each in state.configurations.values()):
        return {}
    of = probe_tables
    return {
        "probes.csv": tables.to_csv(of.PROBE_COLUMNS, of.probe_rows(state)),
        "probe_bins.csv": tables.to_csv(of.PROBE_BIN_COLUMNS, of.probe_bin_rows(state)),
        "competitions.csv": tables.to_csv(of.COMPETITION_COLUMNS, of.competition_rows(state)),
    }


def _minima_tables(state: SweepState) -> dict[str, str]:
    """Return the tables of sharpness and of lines, for a sweep that measures them."""
    of, documents = minima_tables, {}
    if any(each.settings.sharpness.epsilon for each in state.configurations.values()):
        documents["sharpness.csv"] = tables.to_csv(of.SHARPNESS_COLUMNS, of.sharpness_rows(state))
    if state.opened and state.opened.interpolation:
        documents["interpolation.csv"] = tables.to_csv(of.LINE_COLUMNS, of.line_rows(state))
    return documents


def sweep_toml(folder: Path, state: SweepState) -> str:
    """Return the preset as it was run, with the numeric plan of every trial that has one.

    If the stored one is damaged, only the plans.
    """
    raw, remark = dict[str, Any](), ""
    try:
        raw = read_raw(folder)
    except UsageProblem as problem:
        remark = f"# This is no preset: {problem}\n"
    plans = dict.fromkeys(state.plans.values())
    raw["plan"] = [
        {key: value for key, value in msgspec.to_builtins(plan).items() if value is not None}
        for plan in plans
    ]
    return remark + tomli_w.dumps(raw)


def damaged_files(folder: Path, state: SweepState) -> list[str]:
    """Return the names of the sweep's files of which the export lacks something."""
    found = [journal.NAME] if state.lost or other_sweep(folder, state) else []
    try:
        read_raw(folder)
    except UsageProblem:
        found.append(SWEEP)
    return found


def _copy(source: Path, target: Path, size: int) -> None:
    """Copy the first bytes of a file, in pieces."""
    with open_regular(source, most=None, follow=False) as old, open(target, "wb") as new:
        while size > 0 and (piece := old.read(min(size, PIECE))):
            new.write(piece)
            size -= len(piece)


def manifest(folder: Path, state: SweepState, alive: bool) -> dict[str, Any]:
    """Return sweep, machine, data, versions and state, without the time of export."""
    opened, ended = state.opened, state.ended
    return {
        "program": "batchscope",
        "format": FORMAT,
        "sweep": os.fsencode(folder.name).decode("utf-8", "replace"),
        "preset": opened.preset if opened else None,
        "title": opened.title if opened else None,
        "question": opened.question if opened else None,
        "source": opened.source if opened else None,
        "state": standing(state, alive),
        "reason": ended.reason if ended else None,
        "exit_code": ended.exit_code if ended else None,
        "complete": complete(state),
        "trials": len(state.trials),
        "finished": state.count("finished"),
        "failed": state.count("failed"),
        "seeds": sorted({trial.seed for trial in state.trials.values()}),
        "started": _moment(opened.at if opened else None),
        "ended": _moment(ended.at if ended else None),
        "data": {name: msgspec.to_builtins(data) for name, data in sorted(state.data.items())},
        "machine": state.conductor.machine if state.conductor else {},
        "versions": {"batchscope": state.program or __version__, **state.versions},
        "damaged_journal_lines": state.lost,
        "damaged_files": damaged_files(folder, state),
    }


def _moment(at: float | None) -> str | None:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds") if at else None


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
