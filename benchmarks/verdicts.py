"""Measure how often verdicts and recommendations are false, and how often a true claim is found.

    python benchmarks/verdicts.py [SIMULATIONS] [SECTION ...]

Every sweep is simulated with a known truth and judged by the code that judges real sweeps
(`tests/unit/engine/verdict_simulations`). SIMULATIONS is 2,000 by default; power is measured with a
tenth of them. The sections are means, missing, noise, errors, limits, families, recommendations,
trends, target-trends and noise-trends; all of them take about ten minutes of one core. The tables
that are printed are those of `docs/verdicts.md`; a share above what is allowed is marked with “!”.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.unit.engine.verdict_simulations import families, recommendations, trends
from tests.unit.engine.verdict_simulations.errors import ERRORS
from tests.unit.engine.verdict_simulations.means import MEANS, MISSING, SKEWED, UNKNOWABLE
from tests.unit.engine.verdict_simulations.noise import NOISE
from tests.unit.engine.verdict_simulations.sides import ALLOWED, Kind, share

SIMULATIONS = 2000
SEEDS = (3, 5, 10)


def percent(found: float, allowed: float = 1.0) -> str:
    return f"{100 * found:.1f}{' !' if found > allowed else ''}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table in Markdown, row by row."""
    print("|", " | ".join(head), "|")
    print("|", " | ".join("---" for _ in head), "|")
    for row in rows:
        cells = (cell.replace("|", "\\|") for cell in row)
        print("|", " | ".join(cells), "|", flush=True)
    print()


def kinds(of: Sequence[Kind], rounds: int) -> None:
    """Print false shares and power: a row for each kind."""

    def row(kind: Kind) -> list[str]:
        false = [percent(share(kind, n, rounds), ALLOWED[kind.stated]) for n in kind.seeds]
        found = [f"{100 * share(kind, n, rounds // 10, True):.0f}" for n in kind.seeds]
        counts = ", ".join(map(str, kind.seeds))
        return [kind.name, counts, f"{100 * kind.stated:g}", ", ".join(false), ", ".join(found)]

    table(["kind", "seeds", "stated %", "false %", "power %"], map(row, of))


def family_table(rounds: int) -> None:
    def row(name: str) -> list[str]:
        family = families.FAMILIES[name]
        holm = [percent(families.erred(family, n, rounds), families.ALLOWED) for n in SEEDS]
        alone = [percent(families.erred(family, n, rounds // 4, "none")) for n in SEEDS]
        return [name, ", ".join(map(str, SEEDS)), ", ".join(holm), ", ".join(alone)]

    head = ["five false claims", "seeds", "any false verdict, Holm, %", "without correction, %"]
    table(head, map(row, families.FAMILIES))


def recommendation_table(rounds: int) -> None:
    def row(sizes: recommendations.Sizes) -> list[str]:
        found = [recommendations.shares(sizes, n, rounds) for n in SEEDS]
        worse = ", ".join(percent(each, recommendations.ALLOWED) for each, _ in found)
        some = ", ".join(percent(each) for _, each in found)
        return [sizes.name, ", ".join(map(str, SEEDS)), worse, some]

    head = ["accuracies", "seeds", "a worse size is named, %", "any size is named, %"]
    table(head, map(row, recommendations.SIZES))


def trend_table(rounds: int) -> None:
    def row(levels: int, shape: trends.Shape, rounds: int, allowed: float) -> list[str]:
        found = [percent(trends.supported(shape, n, rounds), allowed) for n in trends.SEEDS]
        return [shape.name, f"{levels}", ", ".join(map(str, trends.SEEDS)), ", ".join(found)]

    head = ["a reversal of four standard deviations", "levels", "seeds", "supported, %"]
    every = [(levels, each) for levels in trends.LEVELS for each in trends.reversals(levels)]
    table(head, (row(levels, each, rounds, trends.ALLOWED) for levels, each in every))
    head[0] = "a rise throughout"
    every = [(levels, each) for levels in trends.LEVELS for each in trends.honest(levels)]
    table(head, (row(levels, each, rounds // 10, 1.0) for levels, each in every))


def noise_trend_table(rounds: int) -> None:
    def row(name: str, scales: Sequence[float], rounds: int, allowed: float) -> list[str]:
        found = [percent(trends.noise_supported(scales, n, rounds), allowed) for n in SEEDS]
        return [
            name,
            ", ".join(f"{each:g}" for each in scales),
            ", ".join(map(str, SEEDS)),
            ", ".join(found),
        ]

    head = ["trend of noise scales", "true values", "seeds", "supported, %"]
    rows = [row("falls in between", each, rounds, trends.ALLOWED) for each in trends.NOISE_REVERSED]
    table(head, rows + [row("rises", each, rounds // 10, 1.0) for each in trends.NOISE_RISING])


def target_trend_table(rounds: int) -> None:
    def row(name: str, where: str, rounds: int, allowed: float) -> list[str]:
        found = [percent(trends.missed_supported(where, n, rounds), allowed) for n in SEEDS]
        return [name, ", ".join(map(str, SEEDS)), ", ".join(found)]

    head = ["trend of steps to a target over four levels", "seeds", "supported, %"]
    rows = [
        row("flat, a third miss it at the last level", "last", rounds, 0.033),
        row("flat, a third miss it at every level", "all", rounds, 0.033),
        row("rises, most miss it at the last level", "rising", rounds // 10, 1.0),
    ]
    table(head, rows)


SECTIONS: dict[str, Callable[[int], None]] = {
    "means": lambda rounds: kinds(MEANS, rounds),
    "missing": lambda rounds: kinds(MISSING, rounds),
    "noise": lambda rounds: kinds(NOISE, rounds),
    "errors": lambda rounds: kinds(ERRORS, rounds),
    "limits": lambda rounds: kinds((*SKEWED, *UNKNOWABLE), rounds),
    "families": family_table,
    "recommendations": recommendation_table,
    "trends": trend_table,
    "target-trends": target_trend_table,
    "noise-trends": lambda rounds: noise_trend_table(rounds // 4),
}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else SIMULATIONS
    for name in sys.argv[2:] or SECTIONS:
        print(f"{name}\n")
        SECTIONS[name](rounds)


if __name__ == "__main__":
    main()
