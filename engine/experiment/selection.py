"""Reads `[select]`: settings for which the best of several values is selected.

It has the same keys as `[grid]`. Each configuration of grid and cells is expanded into candidates
that differ only in these keys; they are called rivals, and the best one on the validation split is
selected. If a cell sets one of the keys, that value is kept.

With `seeds_after = N` the selected candidate is trained again with N fresh seeds, as another
configuration. Mean and interval of these seeds are unbiased, because they had no part in the
choice; the seeds that chose the candidate flatter it (Cawley and Talbot 2010, JMLR 11:2079).
"""

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, Literal, NamedTuple

from batchscope.engine.errors import UsageProblem, printable, shown, similar
from batchscope.engine.experiment.fields import check_value, field_types, flat, full_key, type_of
from batchscope.engine.experiment.target_check import WANTED
from batchscope.engine.schedule.target import KEYS, has_target
from batchscope.engine.spec import Configuration, Selection, Settings

BY, AFTER = "by", "seeds_after"
OWN_KEYS = (BY, AFTER)
"""The keys of `[select]` that are no settings of a training."""
ID_LENGTH = 60
"""Longest id of a configuration, in characters."""
SHARE = 0.1
"""Share of the training images held out if there is `[select]` but no `data.validation`."""
NOT_COMPARABLE = (
    "data.name",
    "data.validation",
    "task.validation",
    *KEYS,
    "train.target_checks",
)
"""Keys that change the value by which candidates are compared."""
CRITERIA = ("validation_accuracy", "validation_loss", "steps_to_target")
"""The criteria that every sweep has; a task adds `validation_NAME` for each of its metrics."""
_EVERY: Any = Literal[CRITERIA]
VALIDATION_METRIC = re.compile(r"validation_[^\W\d]\w*")

Overrides = dict[str, Any]


class SelectTable(NamedTuple):
    """The candidate values by dotted key (none without `[select]`), criterion and fresh seeds."""

    values: dict[str, list[Any]]
    by: str
    seeds_after: int = 0

    @property
    def selection(self) -> Selection | None:
        """Return it as the journal has it; None if nothing is selected."""
        if not self.values:
            return None
        keys = tuple(self.values)
        return Selection(keys=keys, by=self.by, seeds_after=self.seeds_after)

    def candidates(self, overrides: Overrides) -> list[Overrides]:
        """Return the candidates of a configuration: itself if it sets all keys."""
        keys = self.open_keys(overrides)
        chosen = product(*(self.values[key] for key in keys))
        return [{**overrides, **dict(zip(keys, each, strict=True))} for each in chosen]

    def trials(self, overrides: Overrides, seeds: int) -> int:
        """Return the number of trials of a configuration, those after the choice included."""
        keys = self.open_keys(overrides)
        if not keys:
            return len(self.seeds(overrides, seeds))
        return math.prod(len(self.values[key]) for key in keys) * seeds + self.seeds_after

    def open_keys(self, overrides: Overrides) -> list[str]:
        """Return the keys that a configuration does not set itself."""
        return [key for key in self.values if key not in overrides]

    def seeds(self, overrides: Overrides, count: int) -> range:
        """Return the seeds of a configuration: the first `count`, on which candidates are chosen.

        A configuration without rivals has only the fresh seeds, if there are any: with these it is
        compared with the chosen ones.
        """
        if self.seeds_after and self.values and not self.open_keys(overrides):
            return range(count, count + self.seeds_after)
        return range(count)


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
        if key in OWN_KEYS:
            own = key == BY and isinstance(entry, str) and VALIDATION_METRIC.fullmatch(entry)
            types = {BY: _EVERY, AFTER: field_types(Selection)[AFTER]}
            check_value(entry, str if own else types[key], at)
            continue
        path = full_key(key, f"{where}: select", also=OWN_KEYS)
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
    return SelectTable(values, written.get(BY, "validation_accuracy"), written.get(AFTER, 0))


def slug(name: str) -> str:
    """Return a name as an id: lower case, digits, dots and hyphens, at most `ID_LENGTH` long."""
    name = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
    if len(name) <= ID_LENGTH:
        return name
    return f"{name[:50]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def distinct(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return the names, made distinct by a number after those that occur twice or are `taken`."""
    out, seen = [], set(taken)
    for name in names:
        own, number = name, 2
        while own in seen:
            own, number = f"{name}.{number}", number + 1
        seen.add(own)
        out.append(own)
    return out


def confirming(
    chosen: Configuration, seeds_after: int, among: Sequence[Configuration]
) -> Configuration:
    """Return the configuration that trains a chosen candidate again, with fresh seeds.

    Its names are those of its group, so they do not depend on which candidate was chosen.

    Args:
        chosen: the chosen candidate.
        seeds_after: the number of fresh seeds; their numbers follow those of the candidate.
        among: all configurations of the sweep, in the order in which they were stated.
    """
    others = [each for each in among if not each.confirms]
    groups = list(dict.fromkeys(each.rivals for each in others if each.rivals))
    ids = distinct(map(_chosen_id, groups), {each.id for each in others})
    group = chosen.rivals
    labels = {each.label for each in others}
    first = max(chosen.seeds) + 1
    return Configuration(
        id=ids[groups.index(group)],
        label=distinct([f"{group}, chosen"], labels)[0] if group in labels else group,
        settings=chosen.settings,
        seeds=tuple(range(first, first + seeds_after)),
        confirms=chosen.id,
    )


def _chosen_id(group: str) -> str:
    """Return the id of the configuration that confirms the choice of a group: b64-chosen."""
    return slug(f"{'b' * group[:1].isdigit()}{group}-chosen")


def refusal(contest: SelectTable, settings: Settings) -> str | None:
    """Return why candidates with these settings cannot be compared; None if they can."""
    own = settings.task is not None
    if contest.by not in CRITERIA and not own:
        return (
            f"select.by: expected one of {', '.join(CRITERIA)}, got {shown(contest.by)}"
            f"{similar(contest.by, CRITERIA)}; only a task has other metrics"
        )
    if not settings.data.validation and not own:  # a task may bring its own
        return (
            "data.validation: must be above 0 with [select], because selecting on the test set "
            "would bias the test accuracy"
        )
    if contest.by == "steps_to_target" and not has_target(settings.train):
        return f"select.by: steps_to_target needs {WANTED}"
    return None
