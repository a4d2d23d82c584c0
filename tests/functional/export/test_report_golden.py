"""The prose of the report page, and of every kind of finding, compared with a golden file."""

import math
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from batchscope import __version__
from batchscope.engine.comparison.comparison import compare
from batchscope.engine.errors import UsageProblem
from batchscope.engine.export.bundle import write_export
from batchscope.engine.export.report import render
from batchscope.engine.findings.claim_text import effect_text, remarks, word_of
from batchscope.engine.findings.critical_batch_text import noise_sentence, size_lines
from batchscope.engine.findings.findings import find
from batchscope.engine.findings.recommendation import recommendation
from batchscope.engine.findings.selection_text import choice_text
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import Claim, Data, Model, Probe, trials_of
from tests import golden
from tests.functional.board_fixtures import CLAIMS, Recipe, configurations
from tests.unit.engine.comparison_fixtures import ONE, OTHER, aimed, images, side
from tests.unit.engine.findings.critical_fixtures import SIZES, TARGET, reached, swept, wobbled
from tests.unit.engine.findings_fixtures import (
    Ended,
    comparison,
    configuration,
    draws,
    sweep,
    trend,
    verdict,
)
from tests.unit.engine.tuning_fixtures import tuned

B8, B64 = configuration(8), configuration(64)
HIGH, LOW, NEAR = [0.95, 0.96, 0.97], [0.90, 0.92, 0.91], [0.94, 0.97, 0.96]
DIVERGED, FAILED, SKIPPED = (
    Ended(status="diverged"),
    Ended(status="failed"),
    Ended(status="skipped"),
)
BLOCKS = ("p", "li", "h1", "h2", "h3", "tr", "figcaption", "summary", "dl", "pre", "dt")
ENDS = {"th": " | ", "td": " | ", "dt": ": "}


class Prose(HTMLParser):
    """The text of a page, a line for each block; numbers in tables and figures are left out."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []
        self._pieces: list[str] = []
        self._skipped = 0
        self.feed(html)
        self.close()

    @property
    def text(self) -> str:
        lines = (" ".join(line.split()) for line in "".join(self._pieces).split("\n"))
        return "\n".join(line.rstrip("| ") for line in lines if line.strip("| "))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in ("meta", "link"):
            return
        number = tag == "td" and "text" not in (dict(attributes).get("class") or "")
        self._open.append("number" if number else tag)
        self._skipped += self._open[-1] in ("style", "svg", "number")
        if tag in BLOCKS:
            self._pieces.append({"h1": "\n# ", "h2": "\n## ", "h3": "\n### "}.get(tag, "\n"))

    def handle_endtag(self, tag: str) -> None:
        self._skipped -= self._open.pop() in ("style", "svg", "number")
        self._pieces.append(ENDS.get(tag, ""))

    def handle_data(self, data: str) -> None:
        if not self._skipped:
            self._pieces.append(data.replace("\n", "\n" if "pre" in self._open else " "))


def verdicts() -> Iterator[str]:
    """Every kind of verdict, with its reason."""
    ladder = [(configuration(8 << at), each) for at, each in enumerate((HIGH, NEAR, LOW))]
    back = [[0.95, 0.96, 0.97], [0.80, 0.81, 0.8201], [0.90, 0.91, 0.9203]]
    turning = [(configuration(8 << at), each) for at, each in enumerate(back)]
    hot = configuration(8, lr=9.0, id="hot", label="8, lr 9")
    probes = Probe(at=(1.0,), batch_sizes=(1, 8))
    drawn = [Ended(probes={1.0: [draws(1, 5.0), draws(8, 1.0 + at / 9)]}) for at in range(3)]
    fewer = configuration(64, probe=Probe(at=(1.0,), batch_sizes=(1,)))
    aims = [configuration(size, target_accuracy=0.8) for size in (8, 64)]
    stacks = [[Ended(each, stacked=size) for each in HIGH] for size in (3, 1)]
    number = Claim(
        statement="8 reaches 0.9",
        measure="test_accuracy",
        left={"train.batch_size": 8},
        relation="greater",
        value=0.9,
    )
    one = [(configuration(size, seeds=1), [0.9]) for size in (8, 64)]
    cases: tuple[tuple[list[tuple[Any, Any]], Claim], ...] = (
        ([(B8, HIGH), (B64, LOW)], comparison("greater")),
        ([(B8, HIGH), (B64, LOW)], comparison("less")),
        ([(B8, HIGH), (B64, NEAR)], comparison("greater")),
        ([(B8, HIGH), (B64, HIGH)], comparison("greater")),
        ([(B8, HIGH), (B64, NEAR)], comparison("equal", 0.05)),
        ([(B8, HIGH), (B64, NEAR)], comparison("equal", 0.001)),
        ([(B8, HIGH), (B64, LOW)], comparison("equal", 0.001)),
        ([(B8, HIGH), (B64, LOW)], number),
        (ladder, trend("decreasing")),
        (ladder, trend("increasing")),
        (turning, trend("decreasing")),
        ([*ladder, (configuration(16, lr=0.5, id="fast"), HIGH)], trend("decreasing")),
        ([(B8, HIGH)], trend("decreasing")),
        ([(B8, HIGH), (B64, [0.9])], trend("decreasing")),
        ([(B8, HIGH), (configuration(16), [DIVERGED] * 3), (B64, LOW)], trend("decreasing")),
        (
            [(configuration(16, probe=probes), drawn), (fewer, drawn)],
            trend("decreasing", "probe_norm_mean", "probe.batch_sizes"),
        ),
        ([(B8, [0.9]), (B64, LOW)], comparison("greater")),
        ([(B8, [DIVERGED, 0.9, 0.8]), (B64, LOW)], comparison("greater")),
        ([(B8, [DIVERGED, FAILED, FAILED]), (B64, LOW)], comparison("greater")),
        ([(B8, [SKIPPED] * 3), (B64, LOW)], comparison("greater")),
        ([(B8, HIGH), (hot, [DIVERGED] * 3), (B64, LOW)], comparison("greater")),
        ([(B8, [0.9, 0.9, DIVERGED]), (B64, [DIVERGED, 0.8, 0.8])], comparison("greater")),
        (one, comparison("greater")),
        ([(B8, HIGH), (B64, LOW)], comparison("less", measure="peak_memory_bytes")),
        (
            [(aims[0], [0.9, 0.7, 0.7]), (aims[1], [0.9] * 3)],
            comparison("less", measure="steps_to_target"),
        ),
        (
            [(aims[0], [0.7] * 3), (aims[1], [0.9] * 3)],
            comparison("less", measure="steps_to_target"),
        ),
        ([(B8, HIGH), (B64, LOW)], comparison("less", measure="bias")),
        (
            [(B8, stacks[0]), (B64, stacks[1])],
            comparison("less", measure="epoch_seconds"),
        ),
    )
    for values, claim in cases:
        found = verdict(sweep(values, claim))
        shown = (claim.statement, word_of(found), effect_text(found), remarks(found))
        yield " | ".join(shown)


def recommendations() -> Iterator[str]:
    """Every kind of recommendation."""
    seconds: dict[str, Any] = {"epochs": None, "seconds": 2.0}
    budget = [configuration(size, **seconds) for size in (8, 16)]
    mixed = replace(B64, settings=replace(B64.settings, data=Data(name="mnist")))
    alone, pair = [Ended(each) for each in NEAR], [Ended(each, stacked=3) for each in HIGH]
    cases: tuple[list[tuple[Any, Any]], ...] = (
        [(B8, HIGH), (B64, LOW)],
        [(B8, HIGH), (B64, LOW), (configuration(512), [0.5, 0.51, 0.52])],
        [(B8, HIGH), (B64, [0.5, 0.51])],
        [(B8, HIGH), (B64, NEAR)],
        [(B8, HIGH), (B64, NEAR), (configuration(512), [0.5, 0.51, 0.52])],
        [(B8, HIGH), (B64, NEAR), (configuration(512), [DIVERGED, 0.5, 0.5])],
        [(configuration(2**at), HIGH) for at in range(8)],
        [(budget[0], HIGH), (budget[1], NEAR)],
        [(B8, pair), (B64, alone)],
        [(B8, []), (B64, [])],
        [(B8, HIGH)],
        [(B8, HIGH), (B64, [DIVERGED] * 3)],
        [(B8, [DIVERGED] * 3)],
        [(B8, HIGH), (mixed, LOW)],
    )
    yield from (recommendation(sweep(each)) for each in cases)
    waiting: Any = {(8, 0.1): [0.9, "queued"], (8, 1.0): [0.8, 0.8], (64, 0.1): [0.5, 0.6]}
    yield recommendation(tuned(waiting))


def critical_sizes() -> Iterator[str]:
    """The critical batch size with a value, with a bound, and undetermined."""

    def short(size: int, seed: int) -> float | Ended:
        return reached(5000, size, TARGET - 0.01) if size == 2048 else wobbled(size, seed)

    def waiting(size: int, seed: int) -> float | Ended:
        return Ended(0.95, "queued") if (size, seed) == (8, 2) else wobbled(size, seed)

    def rates() -> SweepState:
        values = []
        for size in SIZES:
            for lr, factor in ((0.01, 3.0), (0.1, 1.0)):
                each = configuration(size, lr=lr, id=f"b{size}-{lr}", target_accuracy=TARGET)
                values.append((each, [reached(factor * wobbled(size, s), size) for s in range(3)]))
        return sweep(values)

    def networks() -> SweepState:
        models = [Model(name="mlp", hidden=(n,)) for n in (5, 6)]
        aims = [
            configuration(size, id=f"{size}-{n}", target_accuracy=TARGET, model=model)
            for size in SIZES
            for n, model in enumerate(models)
        ]
        return sweep([(each, []) for each in aims])

    states: Iterable[SweepState] = (
        swept(wobbled),
        swept(short),
        swept(waiting),
        rates(),
        swept(lambda size, seed: 1e6 / size * (1 + 0.02 * ((size + seed) % 3))),
        swept(lambda size, seed: 2000 * (1 + 0.02 * ((size + seed) % 3))),
        swept(lambda size, seed: wobbled(size, seed) * (1.4 if size in (32, 512) else 1.0)),
        swept(lambda size, seed: 3000 * math.exp(2 * math.sin(5 * seed + size)), SIZES[:4]),
        networks(),
        swept(wobbled, SIZES[:3]),
        swept(wobbled, seeds=1),
    )
    for state in states:
        found = find(state)
        assert found.critical_batch_size
        yield from size_lines(found.critical_batch_size)
        yield found.recommendation
        yield ""
    found = find(swept(wobbled))
    assert found.critical_batch_size
    for values in ([150.0] * 5, [64.0, 90.0, 150.0, 200.0, 213.0], [1e6] * 5):
        pairs = zip(found.noise_scale, values, strict=True)
        measured = [replace(each, value=value) for each, value in pairs]
        yield noise_sentence(found.critical_batch_size, measured)


def selections() -> Iterator[str]:
    """Choices of `[select]`: made, at an edge, open, impossible."""
    found: Any = {
        **{(8, lr): [value, value] for lr, value in ((0.01, 0.5), (0.1, 0.9), (1.0, 0.5))},
        **{(64, lr): [value, value] for lr, value in ((0.01, 0.5), (0.1, 0.6), (1.0, 0.9))},
        **{(128, lr): [value, "diverged"] for lr, value in ((0.01, 0.5), (0.1, 0.6))},
        **{(256, lr): [0.5, "queued"] for lr in (0.01, 0.1)},
        **{(512, lr): ["failed", "diverged"] for lr in (0.01, 0.1)},
    }
    yield from map(choice_text, find(tuned(found)).choices)


def comparisons() -> Iterator[str]:
    """Warnings of a comparison, and why two sweeps cannot be compared."""
    a, b = side((B8, ONE)), side((B8, OTHER), id="b")
    held = replace(B8, settings=replace(B8.settings, data=Data("digits", 0.2)))
    stacks = [side((B8, [Ended(0.9, stacked=size)] * 3), id=str(size)) for size in (1, 3)]
    twins = [
        side(*((configuration(8, lr=lr, id=f"r{lr}"), ONE) for lr in rates), id=name)
        for name, rates in (("a", (0.1, 0.2)), ("b", (0.3, 0.4)))
    ]
    kept = [(B64, ONE)]
    mixed = [
        side(*((configuration(8, lr=lr, id=f"r{lr}"), ONE) for lr in rates), *kept, id=name)
        for name, rates in (("a", (0.2, 0.3)), ("b", (0.4, 0.5)))
    ]
    machine = side((B8, OTHER), id="b", damaged=2)
    machine.state.conductor = ev.ConductorStarted(pid=1, machine={"cores": 8})
    pairs = (
        (a, side((B8, OTHER[:2]), id="b")),
        (a, machine),
        (a, images(b, "another")),
        (a, side((held, OTHER), id="b")),
        (stacks[0], stacks[1]),
        (stacks[1], replace(stacks[1], id="c")),
        (mixed[0], mixed[1]),
        (side(aimed((10, 20, 30))), side(aimed((5, 0, 20)), id="b")),
        (a, a),
        (a, side((configuration(16), ONE), id="b")),
        (twins[0], twins[1]),
    )
    for one, other in pairs:
        try:
            yield from compare(one, other).remarks
        except UsageProblem as problem:
            yield str(problem)


def page(folder: Path) -> str:
    """The report of a sweep of which one trial failed and one batch size trained as a stack."""
    recipe, chosen = Recipe(folder), configurations()
    opposite = Claim(
        statement="Test accuracy rises as the batch grows",
        measure="test_accuracy",
        trend="increasing",
        over="train.batch_size",
    )
    recipe.claims = (*CLAIMS, opposite)
    recipe.stacks = {8: 3}
    recipe.open(chosen)
    recipe.ready(chosen)
    trials = [trial for each in chosen for trial in trials_of(each)]
    for trial in trials[:-1]:
        recipe.start(trial)
        if trial.batch_size == 32:
            recipe.probe(trial, 0.5)
        recipe.epochs(trial, 20)
        recipe.end(trial)
    recipe.start(trials[-1])
    recipe.end(trials[-1], "failed", "RuntimeError: out of memory")
    recipe.close("finished", len(trials), len(trials) - 1)
    (recipe.folder / "sweep.toml").write_text('title = "as it was run"\n')
    write_export(recipe.folder, folder / "out", report=False)
    render.render(folder / "out")
    html = (folder / "out" / "report.html").read_text(encoding="utf-8")
    return Prose(html).text.replace(__version__, "VERSION")


def test_the_prose_of_the_report_and_of_every_finding(tmp_path: Path) -> None:
    parts = {
        "Report page": [page(tmp_path)],
        "Verdicts: claim | verdict | effect | remarks": verdicts(),
        "Recommendations": recommendations(),
        "Critical batch size": critical_sizes(),
        "Choices of [select]": selections(),
        "Comparison: warnings and errors": comparisons(),
    }
    text = "\n\n".join(f"==== {name}\n" + "\n".join(lines) for name, lines in parts.items())
    golden.check("report", text)
