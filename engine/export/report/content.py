"""Collects the content of a report as plain data, read from the files of an export."""

from dataclasses import dataclass
from typing import Any

from batchscope.engine.analysis.provenance import machine_of
from batchscope.engine.analysis.statistics import LEVEL
from batchscope.engine.export import weights
from batchscope.engine.export.export_reader import Exported, Number
from batchscope.engine.export.report.claim_values import claim_values
from batchscope.engine.export.report.settings import experiment
from batchscope.engine.export.report.tables import (
    ODD,
    ReportTable,
    memory_plan,
    odd_trials,
    tables,
    trials,
)
from batchscope.engine.findings.claim_text import (
    SMALLEST_P,
    idle_sentence,
    percent,
    remarks,
    scope,
    unit_of,
    word_of,
)
from batchscope.engine.findings.claim_verdicts import Verdict
from batchscope.engine.findings.critical_batch_text import aside_sentences, critical_sentence
from batchscope.engine.findings.selection_text import choice_text
from batchscope.engine.formatting import shown_size
from batchscope.engine.journal.sweep_state import SweepState

SIGNS = {"supported": "✓", "contradicted": "✗", "undetermined": "?"}
ENDINGS = {
    "stopped": "the sweep was stopped",
    "interrupted": "the sweep was interrupted",
    "paused": "the sweep is paused",
    "running": "the sweep is still running",
    "preparing": "the sweep is being prepared",
}
LONGEST_REMARK = 400


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """A claim with its verdict, as a row of the page."""

    sign: str
    word: str
    verdict: str
    statement: str
    effect: Number | None
    low: Number | None
    high: Number | None
    unit: str
    level: str
    low_95: Number | None
    high_95: Number | None
    n: Number | None
    p: Number | str | None
    adjusted: Number | str | None
    excluded: Number | None
    without_value: Number | None
    method: str
    remarks: str

    @property
    def coverage(self) -> str:
        """The coverage of the interval that decided, if it is not 95 %."""
        return (
            "" if self.low_95 is None and self.high_95 is None else percent(1 - float(self.level))
        )


@dataclass(frozen=True, slots=True)
class Report:
    """The content of a page, without its figures."""

    question: str
    title: str
    preset: str
    sweep: str
    source: str
    ended: str
    alarms: tuple[str, ...]
    tally: str
    claims: tuple[ClaimRow, ...]
    judging: str
    scope: str
    values: ReportTable
    idle: str
    recommendation: str
    choices: tuple[str, ...]
    critical: tuple[str, ...]
    tables: tuple[ReportTable, ...]
    trials: ReportTable
    odd: ReportTable
    memory: ReportTable
    warnings: tuple[str, ...]
    facts: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    again: tuple[str, ...]
    files: tuple[str, ...]


def report_of(of: Exported, state: SweepState) -> Report:
    """Collect the report of an export.

    Args:
        of: the files of the export, which give all numbers.
        state: the folded journal, which gives the log, the settings and the machine.
    """
    manifest = of.manifest
    document = of.document
    critical = document.critical_batch_size
    return Report(
        question=manifest["question"] or manifest["title"] or "",
        title=manifest["title"] or "",
        preset=manifest["preset"] or "",
        sweep=manifest["sweep"],
        source=manifest["source"] or "",
        ended=_moment(manifest["ended"] or manifest["started"]),
        alarms=tuple(_alarms(manifest, state)),
        tally=tally(document.claims),
        claims=tuple(_claim(of, at, each) for at, each in enumerate(document.claims)),
        judging=document.judging,
        scope=scope(state) if document.claims else "",
        values=claim_values(of),
        idle=idle_sentence(state),
        recommendation=document.recommendation,
        choices=tuple(map(choice_text, document.choices)),
        critical=(critical_sentence(critical), *aside_sentences(critical)) if critical else (),
        tables=tuple(tables(of)),
        trials=trials(of),
        odd=odd_trials(of),
        memory=memory_plan(of),
        warnings=tuple(_warnings(manifest, state)),
        facts=tuple(_facts(manifest, state)),
        again=tuple(_again(manifest, state)),
        files=(
            *sorted(path.name for path in of.folder.iterdir() if path.is_file()),
            *([f"{weights.FOLDER}/"] if manifest.get("weights") else []),
        ),
    )


def tally(verdicts: tuple[Verdict, ...]) -> str:
    """Count the verdicts: "Of 3 claims, 2 are supported and 1 is undetermined."

    The text is empty without claims.
    """
    counts = {word: sum(each.verdict == word for each in verdicts) for word in SIGNS}
    known = {word: count for word, count in counts.items() if count}
    so_far = "So far, " if any(each.provisional for each in verdicts) else ""
    if not known:
        return ""
    if len(verdicts) == 1:
        return f"{so_far}the claim is {next(iter(known))}.".capitalize()
    if len(known) == 1:
        every = "both claims" if len(verdicts) == 2 else f"all {len(verdicts)} claims"
        return f"{so_far}{every} are {next(iter(known))}.".capitalize()
    parts = [f"{count} {'is' if count == 1 else 'are'} {word}" for word, count in known.items()]
    joined = f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"{so_far}of {len(verdicts)} claims, {joined}.".capitalize()


def _claim(of: Exported, at: int, verdict: Verdict) -> ClaimRow:
    ends = (verdict.effect, verdict.low, verdict.high)
    unit, factor = unit_of(verdict.measure, next((end for end in ends if end is not None), 0.0))

    def number(key: str, style: str = f"signed {factor!r}") -> Number | None:
        return of.found("claims", at, key, style=style)

    def probability(key: str, p: float | None) -> Number | str | None:
        small = p is not None and p < SMALLEST_P
        return f"< {SMALLEST_P:.4f}" if small else number(key, "p")

    wide = verdict.level != LEVEL
    return ClaimRow(
        sign=SIGNS[verdict.verdict],
        word=word_of(verdict),
        verdict=verdict.verdict,
        statement=verdict.statement,
        effect=number("effect"),
        low=number("low"),
        high=number("high"),
        unit=unit.strip(),
        level=f"{verdict.level:g}",
        low_95=number("low_95") if wide else None,
        high_95=number("high_95") if wide else None,
        n=number("n", "count"),
        p=probability("p", verdict.p),
        adjusted=probability("p_adjusted", verdict.p_adjusted),
        excluded=number("excluded", "count"),
        without_value=number("without_value", "count"),
        method=verdict.method,
        remarks=shortened(remarks(verdict)),
    )


def shortened(text: str) -> str:
    """Shorten a remark that names so many trials that it would hide what follows."""
    if len(text) <= LONGEST_REMARK:
        return text
    return f"{text[:LONGEST_REMARK].rsplit(' ', 1)[0]} … (the rest is in findings.json)"


def _alarms(manifest: dict[str, Any], state: SweepState) -> list[str]:
    """Say that trials are missing, and why; empty if the sweep is complete."""
    if manifest["complete"]:
        return []
    count, done = manifest["trials"], manifest["finished"]
    parts = [
        f"{done:,} of {count:,} trials finished",
        ", ".join(_lost(state)),
        ENDINGS.get(manifest["state"], ""),
        manifest["reason"] or "",
    ]
    summary = "; ".join(part for part in parts if part)
    return [f"Unfinished: {summary}. These results may still change."]


def _warnings(manifest: dict[str, Any], state: SweepState) -> list[str]:
    """Return the warnings of the log, and how many lines of the journal are damaged."""
    warnings = []
    damaged = manifest["damaged_journal_lines"]
    if damaged:
        lines = "1 line" if damaged == 1 else f"{damaged:,} lines"
        warnings.append(
            f"{lines} of the journal could not be read, so this report may be incomplete."
        )
    marked = [trial.id for trial in state.trials.values() if trial.accepted_code]
    if marked:
        some = ", ".join(marked[:5]) + (f" and {len(marked) - 5} more" if marked[5:] else "")
        warnings.append(
            "The code of the task was changed after this sweep began; trained with the new code, "
            f"in whole or in part: {some}."
        )
    without = weights.without_weights(manifest)
    warnings += [f"{without[0].upper()}{without[1:]}."] if without else []
    said = [line.text for line in state.log if line.level in ("warning", "error")]
    return [*warnings, *dict.fromkeys(said)][:40]


def _facts(
    manifest: dict[str, Any], state: SweepState
) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """Return settings, data, machine, versions and times, as names and values."""
    data = [(name, _data(name, each, state)) for name, each in manifest["data"].items()]
    sweep = [
        ("preset", manifest["preset"] or ""),
        ("sweep", manifest["sweep"]),
        ("state", f"{manifest['state']}: {_ended(manifest, state)}"),
        ("seeds", ", ".join(map(str, manifest["seeds"]))),
        ("started", _moment(manifest["started"])),
        ("ended", _moment(manifest["ended"])),
        ("source", manifest["source"] or ""),
    ]  # fmt: skip
    machine = [(_named(name), _text(name, value)) for name, value in _machine(machine_of(state))]
    versions = [(name, str(value)) for name, value in manifest["versions"].items()]
    settings = experiment(state)
    parts = {
        "Sweep": sweep,
        "Experiment": settings,
        "Data": data,
        "Machine": machine,
        "Versions": versions,
    }
    return [
        (title, tuple((name, value) for name, value in pairs if value))
        for title, pairs in parts.items()
        if pairs
    ]


def _data(name: str, known: dict[str, Any], state: SweepState) -> str:
    """Return how many samples a data set has, and its digest; of a task that of its code."""
    parts = f"{known['train']:,} training and {known['test']:,} test"
    if _is_task(name, state):
        return f"{parts} samples, SHA-256 of the code {known['digest']}"
    shape = " × ".join(map(str, known["shape"]))
    return f"{parts} images of {shape}, SHA-256 {known['digest']}"


def _is_task(name: str, state: SweepState) -> bool:
    ready = state.data.get(name)
    return ready is not None and ready.task is not None


def _ended(manifest: dict[str, Any], state: SweepState) -> str:
    """Return in words how the trials ended: "64 of 66 trials finished, 2 diverged"."""
    done = f"{manifest['finished']:,} of {manifest['trials']:,} trials finished"
    return ", ".join([done, *_lost(state)])


def _lost(state: SweepState) -> list[str]:
    """Count the trials that ended otherwise than finished, by status."""
    return [f"{state.count(way):,} {way}" for way in ODD if state.count(way)]


def _machine(machine: dict[str, Any]) -> list[tuple[str, Any]]:
    """Flatten the facts about the machine: each device becomes a numbered value."""
    pairs = []
    for name, value in machine.items():
        if isinstance(value, list) and any(isinstance(each, dict) for each in value):
            pairs += [(f"{name} {at}", each) for at, each in enumerate(value)]
        elif isinstance(value, list):
            pairs.append((name, ", ".join(map(str, value))))
        else:
            pairs.append((name, value))
    return pairs


def _named(name: str) -> str:
    """Return the words for a key of the manifest."""
    return name.removesuffix("_bytes").replace("_", " ")


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool) and "bytes" in name:
        return shown_size(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(key, each)}" for key, each in value.items())
    return str(value)


def _again(manifest: dict[str, Any], state: SweepState) -> list[str]:
    """Return the commands that run the sweep again, from the folder of the export."""
    downloaded = [
        name for name in manifest["data"] if name != "digits" and not _is_task(name, state)
    ]
    data = " --data-dir IMAGES" if downloaded else ""
    if any(each.settings.task for each in state.configurations.values()):
        data = " --set task.path=CODE --trust CODE"  # an export does not hold a person's code
    commands = [f"batchscope --preset ./sweep.toml --export again{data}"]
    if not manifest["complete"]:
        commands.append(f"batchscope resume {manifest['sweep']}")
    return commands


def _moment(at: str | None) -> str:
    """Format a time: 2026-11-28 19:03:14 UTC."""
    return at.replace("T", " ").replace("+00:00", " UTC") if at else ""
