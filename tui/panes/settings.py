"""The pane of settings: what this sweep runs, first what differs between configurations."""

from collections.abc import Iterable, Sequence
from typing import Any

from batchscope.engine.analysis.matching import Values, values_of
from batchscope.engine.errors import printable
from batchscope.engine.experiment.draft import default_of
from batchscope.engine.experiment.toml_literal import literal
from batchscope.engine.metrics.reached_rate import short_of_all
from batchscope.engine.schedule.lr_scaling import scaled_rates
from batchscope.engine.schedule.target import KEYS
from batchscope.engine.spec import BUDGETS
from batchscope.tui.panes.base import Line, Pane
from batchscope.tui.panes.placeholder import awaited
from batchscope.tui.render.styled_text import (
    EMPTY,
    Row,
    Run,
    cell,
    clip,
    row,
    width_of,
    wrap,
)
from batchscope.tui.render.units import number

LABEL_MOST = 16
NAME, INDENT = 15, 4
GAP, BETWEEN = "  ", " · "
BATCH_SIZE = "train.batch_size"
BASE = "scaling.base_batch_size"
COMMON: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("task", ("task.use", "task.validation")),
    ("data", ("data.name", "data.validation")),
    ("model", ("model.name", "model.hidden", "model.channels", "model.batch_norm", "model.init")),
    ("optimizer", ("train.optimizer", "train.momentum", "train.weight_decay")),
    ("learning rate", ("train.lr", "scaling.max_lr", "scaling.warmup_epochs")),
    ("lr scaling", ("scaling.rule", BASE)),
    ("batch size", (BATCH_SIZE,)),
    ("budget", (*(f"train.{name}" for name in BUDGETS), *KEYS)),
)
"""The rows of common settings with their keys. The first value has no name and is always shown,
the others where they are not the default."""
READ_BY = {"probe.": "probe.at", "sharpness.": "sharpness.epsilon"}
"""Settings that have no effect unless another setting is given."""
MOMENTUM = ("momentum", "nesterov")
MICRO_BATCH, SCALED = "micro-batches", "scaled lr"
REACHED = "highest lr"
"""The highest rate of any step, where a warmup did not reach the scaled one."""
UNSET = "–"


class SettingsPane(Pane):
    """A table of what differs between configurations, then the settings that all share."""

    NAME, TITLE = "settings", "settings"
    TOPICS = ("trials", "plans", "data")

    def caption(self, width: int) -> Row:
        """Return how many configurations and seeds there are."""
        known = self.view.state.configurations.values()
        if not known:
            return EMPTY
        seeds = len({seed for each in known for seed in each.seeds})
        trials = len(self.view.state.trials)
        counts = f"{_many(len(known), 'configuration')}, {_many(seeds, 'seed')}"
        return self.said(
            width, f"{counts}, {_many(trials, 'trial')}", counts, _many(len(known), "configuration")
        )

    def wanted_rows(self) -> int:
        """Count the rows at the present width."""
        return len(self._lines(max(1, self._inner()[0])))

    def body(self, width: int, height: int) -> Sequence[Row]:
        """Return the table of differences, then the common settings."""
        if not self.view.state.configurations:
            return awaited(self.view, "No settings yet", width, height)
        return self._lines(width)

    def table(self) -> Iterable[Line]:
        """Return one row per configuration with every setting that is read."""
        every = self._values()
        keys = [key for key in next(iter(every.values()), {}) if _any_reads(key, every)]
        yield "configuration", *keys, MICRO_BATCH
        for name, values in every.items():
            shown = [_text(values[key]) for key in keys]
            yield self.view.marks[name].label, *shown, self._cut(name)

    def _lines(self, width: int) -> list[Row]:
        def lines() -> list[Row]:
            every = self._values()
            return [*self._differing(every, width), *self._common(every, width)]

        moved = self.view.moved
        stamp = (moved["trials"], moved["plans"], moved["data"], len(self.view.order))
        return self.view.once(("settings", width), stamp, lines)

    def _values(self) -> dict[str, Values]:
        """Return every setting of each configuration by its key, in the order of the panes."""
        configurations = self.view.state.configurations
        every = {name: values_of(configurations[name]) for name in self.view.order}
        keys = dict.fromkeys(key for values in every.values() for key in values)
        return {name: {key: values.get(key) for key in keys} for name, values in every.items()}

    def _cut(self, name: str) -> str:
        """Return the planned micro-batches as number × size; empty before planning."""
        state = self.view.state
        plans = (state.plans.get(trial.id) for trial in state.replicates(name))
        plan = next((plan for plan in plans if plan), None)
        return f"{plan.accumulation_steps:,} × {plan.micro_batch_size:,}" if plan else ""

    def _columns(self, every: dict[str, Values]) -> dict[str, list[str]]:
        """Return the columns of the table by their headings, one text per configuration."""
        varied = [key for key in _keys(every) if not _shared(key, every) and _any_reads(key, every)]
        varied.sort(key=lambda key: key != BATCH_SIZE)
        columns = {_short(key): [_text(each[key]) for each in every.values()] for key in varied}
        settings = [self.view.state.configurations[name].settings for name in every]
        if any(each.scaling.rule != "none" for each in settings):
            columns[SCALED] = [
                number(scaled_rates(each, each.train.batch_size).lr) for each in settings
            ]
        short = [short_of_all(self.view.state, name) for name in every]
        if any(rate is not None for rate in short):
            columns[REACHED] = [UNSET if rate is None else number(rate) for rate in short]
        cuts = [self._cut(name) for name in every]
        if any(cuts):
            columns[MICRO_BATCH] = [cut or UNSET for cut in cuts]
        seeds = [self.view.state.configurations[name].seeds for name in every]
        if len(set(seeds)) > 1:
            columns["seeds"] = [_text(each) for each in seeds]
        return columns

    def _differing(self, every: dict[str, Values], width: int) -> list[Row]:
        """Return the table of what differs, or a list where its columns do not fit."""
        columns = self._columns(every)
        label = self.view.label_width(LABEL_MOST)
        sizes = {
            name: max(len(name), *(len(text) for text in texts)) for name, texts in columns.items()
        }
        heads = [self.view.marks[name].head(label) for name in every]
        indent = max((width_of(head) for head in heads), default=0)
        if indent + sum(len(GAP) + size for size in sizes.values()) > width:
            return self._list(columns, label, width)
        top = [
            cell(name, size, "dim", right=_numeric(columns[name])) for name, size in sizes.items()
        ]
        lines = [_spaced(row(" " * indent), top)]
        for at, head in enumerate(heads):
            cells = [
                cell(texts[at], sizes[name], right=_numeric(texts))
                for name, texts in columns.items()
            ]
            lines.append(_spaced(head, cells))
        return lines

    def _list(self, columns: dict[str, list[str]], label: int, width: int) -> list[Row]:
        """Return what differs as a paragraph per configuration, below its name if that is long."""
        lines: list[Row] = []
        for at, name in enumerate(self.view.order):
            mark = self.view.marks[name]
            long = len(mark.label) > label
            head = mark.head(len(mark.label) if long else label)
            parts = [f"{key} {texts[at]}" for key, texts in columns.items() if texts[at] != UNSET]
            indent = INDENT if long else width_of(head)
            first, *rest = _packed(parts, width - indent)
            if long:
                lines.append(clip(head, width))
                head = row(" " * indent)
            lines += [(*head, *first), *((*row(" " * indent), *line) for line in rest)]
        return lines

    def _common(self, every: dict[str, Values], width: int) -> list[Row]:
        """Return the settings that all configurations share, one row per subject."""
        first = {key: _values(key, every)[0] for key in _keys(every) if _shared(key, every)}
        given = {key: value for key, value in first.items() if _any_reads(key, every)}
        shared = {key: value for key, value in given.items() if value not in (None, [], (), "")}
        if self._brings_validation():
            shared.pop("task.validation", None)  # nothing is held out: the samples below say it
        usual = {key for key, value in shared.items() if literal(value) == default_of(key)}
        rows: list[tuple[str, list[str]]] = []
        for name, keys in COMMON:
            known = [key for key in keys if key in shared and (key == keys[0] or key not in usual)]
            parts = [_part(key, shared.pop(key), key == keys[0]) for key in known]
            rows.append((name, parts))
        arguments = [key for key in shared if key.startswith("task.") and key not in usual]
        rows.insert(1, ("arguments", [_part(key, shared.pop(key), False) for key in arguments]))
        rows[2:2] = self._facts()
        seeds = {each.seeds for each in self.view.state.configurations.values()}
        if len(seeds) == 1:
            (common,) = seeds
            rows.append(("seeds", [f"{len(common)}: {_text(common)}"]))
        if not any(self._cut(name) for name in every):
            rows.append(("micro-batch", ["not planned yet"]))
        others = [f"{key} {_text(shared[key])}" for key in shared if key not in usual]
        rows.append(("other settings", others))
        rows.append(("defaults", [f"{key} {_text(shared[key])}" for key in shared if key in usual]))
        lines: list[Row] = [EMPTY, row(("the same for all", "dim"))] if len(every) > 1 else [EMPTY]
        for name, parts in rows:
            lines += _field(name, parts, width) if parts else []
        return lines

    def _brings_validation(self) -> bool:
        """Return whether every task brings validation data, so that no share is held out."""
        tasks = [each.settings.task for each in self.view.state.configurations.values()]
        return all(task and task.facts and task.facts.validation for task in tasks)

    def _facts(self) -> list[tuple[str, list[str]]]:
        """Return what running a task's function has shown: samples, weights and metrics."""
        state = self.view.state
        tasks = [each.settings.task for each in state.configurations.values()]
        facts = list(dict.fromkeys(task.facts for task in tasks if task and task.facts))
        if len(facts) != 1:
            return []
        (known,) = facts
        parts = [f"{known.train:,} training"]
        parts += [f"{known.validation:,} validation"] if known.validation else []
        parts += [f"{known.test:,} test"] if known.test else []
        metrics = [f"{name} ({better} is better)" for name, better in known.metrics]
        return [("samples", parts), ("weights", [f"{known.weights:,}"]), ("metrics", metrics)]


def _keys(every: dict[str, Values]) -> list[str]:
    return list(next(iter(every.values()), {}))


def _values(key: str, every: dict[str, Values]) -> list[Any]:
    """Return the values of a setting; of `BASE` only those of configurations that use it."""
    values = [values[key] for values in every.values()]
    return [value for value in values if value is not None] or values if key == BASE else values


def _shared(key: str, every: dict[str, Values]) -> bool:
    first, *rest = _values(key, every)
    return all(value == first for value in rest)


def _any_reads(key: str, every: dict[str, Values]) -> bool:
    """Return whether any configuration reads a setting."""
    if key == "model.width":
        return False  # the channels already contain it
    if key == "train.target_checks":
        return any(values[target] is not None for values in every.values() for target in KEYS)
    if key == "train.momentum":
        return any(values["train.optimizer"] in MOMENTUM for values in every.values())
    if key.startswith(("data.", "model.")):
        return any(values["task.use"] is None for values in every.values())  # a task brings both
    needed = next((other for start, other in READ_BY.items() if key.startswith(start)), None)
    return needed is None or any(values[needed] for values in every.values())


def _short(key: str) -> str:
    """Return a key without its table, as words."""
    return key.rpartition(".")[2].replace("_", " ")


def _text(value: Any) -> str:
    """Return a value in a readable form: 1,024 or yes or 128, 64."""
    if value is None:
        return UNSET
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return " ".join(
            f"{_short(key)} {_text(one)}" for key, one in value.items() if one is not None
        )
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value)) or "none"
    return printable(value)


def _part(key: str, value: Any, bare: bool) -> str:
    """Return a setting within its row: a bare value if the row's name says what it is."""
    name, text = _short(key), _text(value)
    if key.removeprefix("train.") in BUDGETS:
        return f"{text} {name if value != 1 else name.removesuffix('s')}"
    return text if bare else f"{name} {text}"


def _packed(parts: Sequence[str], width: int) -> list[Row]:
    """Return settings over as many rows as they need, broken between settings where possible."""
    lines: list[str] = []
    for part in parts:
        longer = f"{lines[-1]}{BETWEEN}{part}" if lines else part
        if lines and len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(part)
    return [line for text in lines for line in wrap(text, max(1, width))] or [EMPTY]


def _field(name: str, parts: Sequence[str], width: int) -> list[Row]:
    """Return a row of common settings, or several."""
    rows = _packed(parts, width - NAME)
    return [
        row((f"{name if at == 0 else '':<{NAME}}", "dim"), *line) for at, line in enumerate(rows)
    ]


def _numeric(texts: Sequence[str]) -> bool:
    return all(text.replace(",", "").replace(".", "").isdigit() for text in texts)


def _spaced(head: Row, cells: Sequence[Run]) -> Row:
    return row(*head, *(run for one in cells for run in (GAP, one)))


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}{'s' * (count != 1)}"
