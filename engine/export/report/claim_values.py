"""Builds the table of the values behind the claims, seed by seed."""

from batchscope.engine.export.export_reader import Cell, Exported, Values
from batchscope.engine.export.report.tables import ReportTable, table_of
from batchscope.engine.findings.seed_text import in_order, missing_text, value_unit


def claim_values(of: Exported) -> ReportTable:
    """Build the table of the values behind each claim, seed by seed."""
    sides = [
        (at, index, claim, side)
        for at, claim in enumerate(of.document.claims)
        for index, side in enumerate(claim.sides)
    ]

    def row(which: int) -> tuple[Cell, ...]:
        at, index, claim, side = sides[which]
        every = [abs(value) for each in claim.sides for _, value, _ in in_order(each)]
        unit, factor = value_unit(claim.measure, max(every, default=0.0))
        style = "percent" if unit == "%" else f"times {factor!r}"
        found = []
        for seed, _, bound in in_order(side):
            path = ("claims", at, "sides", index, "above" if bound else "values", seed)
            number = of.found(*path, style=style)
            found += [(">" if bound else "", number)] if number else []
        known = ", ".join([claim.measure, *([unit] if unit else [])])
        return (
            claim.statement if index == 0 else "",
            side.name,
            known,
            Values(tuple(found)),
            missing_text(side),
        )

    return table_of(
        "values",
        "Values of the seeds",
        ("claim", "side or level", "measure", "values in the order of the seeds", "remarks"),
        len(sides),
        row,
        "The values that each verdict is based on. Replicates that share a time have one value for "
        "each stack. “>” marks a target that was missed: its cost is above that.",
        texts={0, 1, 2, 3, 4},
    )
