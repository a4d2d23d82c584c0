"""Sums up a sweep: one JSON object for programs, and the same as lines for a person."""

import textwrap
from pathlib import Path
from typing import Any

import msgspec

from batchscope.engine.analysis.bias_variance import part_lines
from batchscope.engine.analysis.completeness import complete, standing
from batchscope.engine.analysis.figures import (
    by_batch_size,
    epoch_times,
    last_values,
    mean_and_deviation,
)
from batchscope.engine.analysis.stack_times import stack_mark, stack_note
from batchscope.engine.analysis.tuning import rejected
from batchscope.engine.errors import printable
from batchscope.engine.export.bundle import damaged_files
from batchscope.engine.findings.configuration_summary import mean_of, stack_of
from batchscope.engine.findings.critical_batch_text import size_lines
from batchscope.engine.findings.findings import Findings, find
from batchscope.engine.journal.fresh_seeds import confirmed, trials_to_come
from batchscope.engine.journal.headline import ACCURACY
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.collapse import collapse_remark, collapsed_seeds
from batchscope.engine.metrics.primary_metric import primary_metric
from batchscope.engine.sweeps.launcher import cannot_resume
from batchscope.engine.sweeps.store import SWEEP, conductor_lives
from batchscope.engine.sweeps.stored_journal import damage_text
from batchscope.engine.sweeps.sweep_file import other_sweep
from batchscope.engine.system.files import is_folder
from batchscope.tui.render.units import figure, number, places
from batchscope.tui.viewmodel.status_signs import (
    MARKS,
    choice_text,
    effect_text,
    p_text,
    remarks,
    sign_of,
    word_of,
)


def summary(
    folder: Path, state: SweepState, export: Path | None, alive: bool | None = None
) -> dict[str, Any]:
    """Return the sweep as one object: its state, and each configuration over its seeds.

    Args:
        folder: folder of the sweep.
        state: its state.
        export: folder of the export, or None.
        alive: whether a conductor ran before the state was read; None checks now.
    """
    alive = conductor_lives(folder) if alive is None else alive
    there = is_folder(folder)  # it may have been deleted meanwhile
    times = {time.configuration: time for time in epoch_times(state)}
    rows, lost, fresh = [], rejected(state), confirmed(state)
    metric = primary_metric(state)
    for name in by_batch_size(state):
        accuracies = last_values(state, name, lambda record: record.test_accuracy)
        mean, deviation = mean_and_deviation(accuracies) if accuracies else (None, None)
        values = last_values(state, name, metric.of)
        value, spread = mean_and_deviation(values) if values else (None, None)
        time = times.get(name)
        rows.append(
            {
                "configuration": name,
                "label": state.configurations[name].label,
                "batch_size": state.replicates(name)[0].batch_size,
                "trials": len(state.replicates(name)),
                "finished": sum(each.status == "finished" for each in state.replicates(name)),
                "test_accuracy_mean": mean,
                "test_accuracy_std": deviation,
                "epoch_seconds": time.seconds if time else None,
                "samples_per_second": time.samples_per_second if time else None,
                "rejected": name in lost,
                "stacked": time.stacked if time else stack_of(state, name),
                "confirmed_by": fresh.get(name),
                "collapsed": list(collapsed_seeds(state.replicates(name))),
                "metric_mean": value,
                "metric_std": spread,
            }
        )
    findings = find(state)
    sharp = {name: mean_of(state, name, "sharpness") for name in state.configurations}
    for row in rows:
        row["sharpness"] = msgspec.to_builtins(sharp[str(row["configuration"])])
    return {
        "id": folder.name,
        "preset": state.opened.preset if state.opened else None,
        "title": state.opened.title if state.opened else None,
        "state": standing(state, alive),
        "complete": complete(state),
        "reason": (state.ended.reason if state.ended else "") or None,
        "trials": len(state.trials) + trials_to_come(state),
        "finished": state.count("finished"),
        "failed": state.count("failed"),
        "diverged": state.count("diverged"),
        "configurations": rows,
        "claims": msgspec.to_builtins(list(findings.claims)),
        "judging": findings.judging,
        "recommendation": findings.recommendation,
        "choices": msgspec.to_builtins(findings.choices),
        "critical_batch_size": msgspec.to_builtins(findings.critical_batch_size),
        "noise_scale": msgspec.to_builtins(list(findings.noise_scale)),
        "export": str(export) if export else None,
        "bias_variance": msgspec.to_builtins(list(findings.bias_variance)),
        "damaged_journal_lines": state.lost,
        "damaged_files": damaged_files(folder, state) if there else [],
        "other_sweep": other_sweep(folder, state) or None,
        "metric": {"name": metric.measure, "title": metric.title, "better": metric.better},
        "cannot_resume": cannot_resume(folder, state) or None
        if there and not complete(state)
        else None,
    }


def sharpness_lines(rows: list[dict[str, Any]], width: int) -> list[str]:
    """Return lines with the mean sharpness of each configuration; empty if none was measured."""
    means = [(row["label"], row["sharpness"]) for row in rows if row["sharpness"]]
    head = "sharpness at the first value of sharpness.epsilon, in % (95 % interval)"
    lines = ["", head] if means else []
    for label, mean in means:
        low, high = mean["low"], mean["high"]
        within = "" if low is None else f" [{number(low)}, {number(high)}]"
        lacking = mean["without_value"]
        less = f", {lacking} without a value" if lacking else ""
        lines.append(f"{label:>{width}}  {number(mean['mean'])}{within}, n={mean['n']}{less}")
    return lines


def findings_text(findings: Findings) -> list[str]:
    """Return the claims with their verdicts, the selected values, and the recommendation."""
    lines = [""] if findings.claims else []
    for verdict in findings.claims:
        sign, _ = MARKS[verdict.verdict]
        lines.append(f"{sign} {verdict.statement}")
        details = effect_text(verdict), p_text(verdict), remarks(verdict)
        lines.append("  ".join(["", word_of(verdict), *filter(None, details)]))
    if findings.judging:
        lines += ["", findings.judging]
    if findings.choices:
        lines += ["", *(f"{sign_of(each)[0]} {choice_text(each)}" for each in findings.choices)]
    if findings.critical_batch_size:
        lines += ["", *size_lines(findings.critical_batch_size)]
    if findings.bias_variance:
        lines += ["", *part_lines(findings.bias_variance)]
    return [*lines, "", findings.recommendation] if findings.recommendation else lines


def unfinished(of: dict[str, Any]) -> list[str]:
    """Return the first line of an unfinished sweep's summary; empty if all trials are done."""
    if of["complete"]:
        return []
    running = of["state"] in ("preparing", "running", "paused")
    resume = f"resume with `batchscope resume {of['id']}`"
    further = "they may still change" if running else of["cannot_resume"] or resume
    return [f"UNFINISHED ({of['state']}): these are the results so far; {further}"]


def summary_text(of: dict[str, Any]) -> str:
    """Return the summary as lines for a person."""
    status = f"sweep {of['id']}: {of['state']}, {of['finished']} of {of['trials']} trials finished"
    status += f", {of['diverged']} diverged" if of["diverged"] else ""
    status += f": {of['reason']}" if of["reason"] else ""
    damaged = damage_text(of["damaged_journal_lines"])
    lines = [*unfinished(of), *([f"DAMAGED: {damaged}"] if damaged else [])]
    lines += [f"DAMAGED: {of['other_sweep']}"] if of["other_sweep"] else []
    if SWEEP in of["damaged_files"]:
        lines.append(f"DAMAGED: {SWEEP} cannot be read, so the preset cannot be run again")
    lines += [*([of["title"]] if of["title"] else []), status, ""]
    rows = [row for row in of["configurations"] if not (row["rejected"] or row["confirmed_by"])]
    width = max([len(row["label"]) for row in rows] + [len("batch size")])
    head = f"{of['metric']['title']} ± sd"
    column = max(len(head), 18)
    lines.append(f"{'batch size':>{width}}  seeds  {head:<{column}}  epoch time  samples/s")
    decimals: int | None = 4
    if of["metric"]["name"] != "test_accuracy":
        decimals = places(row["metric_mean"] for row in rows if row["metric_mean"] is not None)
    for row in rows:
        mean, deviation = row["metric_mean"], row["metric_std"]
        shown = "-" if mean is None else figure(mean, decimals)
        shown += "" if deviation is None else f" ± {figure(deviation, decimals)}"
        seconds, rate = row["epoch_seconds"], row["samples_per_second"]
        lines.append(
            f"{row['label']:>{width}}  {row['finished']:>2}/{row['trials']:<2}  {shown:<{column}}  "
            f"{'-' if seconds is None else f'{seconds:.4g} s':>10}  "
            f"{'-' if rate is None else f'{rate:,.0f}':>9}  {stack_mark(row['stacked'])}".rstrip()
        )
    if of["metric"]["name"].partition("_")[2] != ACCURACY:
        lines.append(f"{of['metric']['title']}: {of['metric']['better']} is better")
    note = stack_note([row["stacked"] for row in rows if row["epoch_seconds"] is not None])
    lines += [note] if note else []
    for row in rows:
        fell = collapse_remark(row["collapsed"], row["finished"])
        lines += [f"{row['label']}: {fell}"] if fell else []
    lines += sharpness_lines(rows, width)
    lines += findings_text(msgspec.convert(of, Findings))
    if of["export"]:
        lines += ["", f"exported to {of['export']}"]
    return "\n".join(map(printable, lines))


def folded(text: str, width: int) -> str:
    """Wrap the sentences of a text at `width` cells; rows of tables stay unchanged."""
    lines = []
    for line in text.split("\n"):
        indent = "  " if line[:1] in "✓✗?★ " else ""
        long = len(line) > width and "   " not in line
        parts = textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False)
        lines += parts if long else [line]
    return "\n".join(lines)
