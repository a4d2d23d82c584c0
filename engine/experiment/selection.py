"""Reads `[select]`: settings for which the best of several values is selected.

It has the same keys as `[grid]`. Each configuration of grid and cells is expanded into candidates
that differ only in these keys; they are called rivals, and the best one on the validation split is
selected. If a cell sets one of the keys, that value is kept.
"""

import math
from itertools import product
from typing import Any, NamedTuple

from batchscope.engine.errors import UsageProblem, printable, shown
from batchscope.engine.experiment.fields import check_value, field_types, flat, full_key, type_of
from batchscope.engine.schedule.target import has_target
from batchscope.engine.spec import Selection, Settings

BY = "by"
SHARE = 0.1
"""Share of the training images held out if there is `[select]` but no `data.validation`."""
NOT_COMPARABLE = (
    "data.name",
    "data.validation",
    "train.target_accuracy",
    "train.target_loss",
    "train.target_checks",
)
"""Keys that change the value by which candidates are compared."""

Overrides = dict[str, Any]


class SelectTable(NamedTuple):
    """The candidate values by dotted key (none without `[select]`), and the criterion."""

    values: dict[str, list[Any]]
    by: str

    @property
    def selection(self) -> Selection | None:
        """Return it as the journal has it; None if nothing is selected."""
        return Selection(keys=tuple(self.values), by=self.by) if self.values else None  # type: ignore[arg-type]

    def candidates(self, overrides: Overrides) -> list[Overrides]:
        """Return the candidates of a configuration: itself if it sets all keys."""
        keys = self.open_keys(overrides)
        chosen = product(*(self.values[key] for key in keys))
        return [{**overrides, **dict(zip(keys, each, strict=True))} for each in chosen]

    def count(self, overrides: Overrides) -> int:
        """Return the number of candidates of a configuration."""
        return math.prod(len(self.values[key]) for key in self.open_keys(overrides))

    def open_keys(self, overrides: Overrides) -> list[str]:
        """Return the keys that a configuration does not set itself."""
        return [key for key in self.values if key not in overrides]


def read_select(written: object, grid: dict[str, list[Any]], where: str) -> SelectTable:
    """Read the table `[select]`; `grid` has the values of `[grid]` by dotted key.

    Raises:
        UsageProblem: it is malformed, or has a key that cannot be selected.
    """
    if not isinstance(written, dict):
        raise UsageProblem(f"{where}: select: expected a table, written [select]")
    values: dict[str, list[Any]] = {}
    for key, entry in flat(written):
        at = f"{where}: select.{printable(key)}"
        if key == BY:
            check_value(entry, field_types(Selection)[BY], at)
            continue
        path = full_key(key, f"{where}: select", also=(BY,))
        if path in NOT_COMPARABLE:
            raise UsageProblem(f"{at}: cannot be selected, because candidates are compared by it")
        if path in values:
            raise UsageProblem(f"{at}: {path} is given twice, bare and dotted")
        if path in grid:
            raise UsageProblem(
                f"{at}: also in [grid]; put it in [grid] to compare all values, or in [select] to "
                "keep the best"
            )
        if not isinstance(entry, list) or not entry:
            raise UsageProblem(f"{at}: expected a list of at least one value, got {shown(entry)}")
        for index, value in enumerate(entry):
            check_value(value, type_of(path), f"{at}[{index}]")
        values[path] = entry
    if written and not values:
        raise UsageProblem(
            f"{where}: select: expected a key with a list of values, for example "
            "lr = [0.01, 0.03, 0.1]"
        )
    return SelectTable(values, written.get(BY, "validation_accuracy"))


def refusal(contest: SelectTable, settings: Settings) -> str | None:
    """Return why candidates with these settings cannot be compared; None if they can."""
    if not settings.data.validation:
        return (
            "data.validation: must be above 0 with [select], because selecting on the test set "
            "would bias the test accuracy"
        )
    if contest.by == "steps_to_target" and not has_target(settings.train):
        return "select.by: steps_to_target needs train.target_accuracy or train.target_loss"
    return None
