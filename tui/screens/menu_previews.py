"""The preview of the selected preset or sweep in the menu."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.errors import printable
from batchscope.engine.experiment.fields import flat
from batchscope.engine.experiment.preset import Preset
from batchscope.engine.formatting import shown_size
from batchscope.engine.spec import BUDGETS, Settings
from batchscope.engine.sweeps.listing import StoredSweep
from batchscope.engine.sweeps.trust import trust_question
from batchscope.tui.config.settings import personal_folder
from batchscope.tui.render.block_bars import gauge
from batchscope.tui.render.styled_text import EMPTY, Row, row, wrap
from batchscope.tui.render.units import clock, when
from batchscope.tui.screens.menu_entries import Offer, expectation
from batchscope.tui.viewmodel.result_text import result_text

FIELD = 10
SHOWN_VALUES = 12
SHOWN_MODELS = 3

BAR = 20


def preset_preview(
    offer: Offer,
    stored: Sequence[StoredSweep],
    limit: int | None,
    width: int,
    height: int,
    code: str = "",
) -> list[Row]:
    """Return the question of a preset, and the runs it starts.

    Args:
        limit: the memory limit of the launch, in bytes.
        height: rows available; claims take the rows that remain, and the last row says how many
            claims did not fit.
        code: from where it runs a person's code, and whether that is trusted.
    """
    if offer.preset is None:
        return [
            row((f"{printable(offer.name)} is invalid", "bad")),
            EMPTY,
            *(line for each in offer.problem.split("\n") for line in wrap(each, width)),
        ]
    preset = offer.preset
    fields = [
        *_subject(preset, code),
        ("grid", _grid(preset)),
        ("train", _training(preset)),
        ("memory", _memory(preset, limit)),
        ("trials", _trials(offer, preset, stored)),
        ("source", preset.source),
        ("file", "" if offer.origin == "shipped" else printable(offer.path)),
    ]
    head = [row((preset.title, "strong")), *wrap(preset.question, width, "accent")]
    body = [line for name, text in fields for line in _field(name, text, width)]
    left = height - len(head) - len(body)
    if left > sum(len(_claim(claim.statement, width, "")) for claim in preset.claims):
        head.append(EMPTY)
        left -= 1
    return [*head, *body, *_claims(preset, width, max(1, left))]


def code_text(home: Path, preset: Preset) -> str:
    """Return from where a preset runs code, and whether that is trusted."""
    question = trust_question(home, preset, personal_folder())
    state = "asks before it runs" if question else "trusted"
    if question and question.refused:
        state = "cannot be trusted, enter says why"
    return f"{state}: {printable(preset.task_folder)}"


def sweep_preview(sweep: StoredSweep, width: int) -> list[Row]:
    """Return the facts about a stored sweep, and the keys that apply to it."""
    trials = f"{sweep.finished} of {sweep.trials} finished"
    room = max(1, min(BAR, width - FIELD - len(trials) - 1))
    done, left = gauge(sweep.finished / sweep.trials if sweep.trials else 0.0, room)
    fields = [
        ("sweep", printable(sweep.id)),
        ("preset", printable(sweep.preset)),
        ("state", f"{sweep.state}: {printable(sweep.reason)}" if sweep.reason else sweep.state),
        ("results", result_text(sweep.metric, sweep.best, sweep.worst)),
        ("time", clock(sweep.seconds) if sweep.seconds is not None else ""),
        ("started", when(sweep.id)),
        ("on disk", shown_size(sweep.bytes)),
        ("damaged", printable(sweep.problem)),
    ]
    lines = [
        row((printable(sweep.title or sweep.preset), "strong")),
        row((_opening(sweep), "accent")),
        EMPTY,
        row((f"{'trials':<{FIELD}}", "dim"), (done, "good"), (left, "track"), f" {trials}"),
    ]
    return lines + [line for name, text in fields for line in _field(name, text, width)]


def _opening(sweep: StoredSweep) -> str:
    if sweep.state == "paused":
        return "enter opens its board, where p resumes it"
    if sweep.alive:
        return "enter opens its board"
    if sweep.state == "finished":
        return "enter opens its board, e exports it"
    return "enter opens its board, r resumes it"


def _field(name: str, text: str, width: int) -> list[Row]:
    if not text:
        return []
    first, *rest = wrap(text, max(1, width - FIELD))
    return [
        row((f"{name:<{FIELD}}", "dim"), *first),
        *(row(" " * FIELD, *more) for more in rest),
    ]


def _claims(preset: Preset, width: int, height: int) -> list[Row]:
    """Return the claims that fit; the last row says how many more there are."""
    lines: list[Row] = []
    for index, claim in enumerate(preset.claims):
        rows = _claim(claim.statement, width, "" if lines else "claims")
        left = len(preset.claims) - index
        if len(lines) + len(rows) + (left > 1) > height:
            return lines + (
                _field("", f"and {left} more", width)
                if lines
                else _field("claims", str(left), width)
            )
        lines += rows
    return lines


def _claim(statement: str, width: int, name: str) -> list[Row]:
    first, *rest = wrap(statement, max(1, width - FIELD - 2))
    return [
        row((f"{name:<{FIELD}}", "dim"), ("• ", "dim"), *first),
        *(row(" " * (FIELD + 2), *more) for more in rest),
    ]


def _subject(preset: Preset, code: str) -> list[tuple[str, str]]:
    """Return what is trained: data and network, or a task and where its code is."""
    settings = [each.settings for each in preset.configurations]
    tasks = list(dict.fromkeys(each.task.name for each in settings if each.task))
    if not tasks:
        return [("data", _data(settings[0])), ("model", _models(preset))]
    more = len(tasks) - SHOWN_MODELS
    named = "; ".join(tasks[:SHOWN_MODELS]) + (f"; {more} others" if more > 0 else "")
    return [("task", printable(named)), ("code", code)]


def _data(settings: Settings) -> str:
    data = DATASETS[settings.data.name]
    images = f"{data.train_size:,} training + {data.test_size:,} test images"
    fetched = f" ({shown_size(data.download_bytes)} download)" if data.download_bytes else ""
    return f"{data.title}: {images}{fetched}"


def _model(settings: Settings) -> str:
    model = settings.model
    sizes = " → ".join(map(str, (*(model.channels or ()), *(model.hidden or ()))))
    more = [f"width {model.width:g}"] if model.width != 1 else []
    if model.ghost_batch_size is not None:
        more.append(f"ghost batch norm of {model.ghost_batch_size:,}")
    elif model.batch_norm:
        more.append("batch norm")
    return ", ".join([f"{model.name} {sizes}".rstrip(), *more])


def _models(preset: Preset) -> str:
    """Return the networks, or the first one and the number of others."""
    models = list(dict.fromkeys(_model(each.settings) for each in preset.configurations))
    if len(models) <= SHOWN_MODELS:
        return "; ".join(models)
    return f"{models[0]}; {len(models) - 1} others"


def _grid(preset: Preset) -> str:
    """Return the lists of the grid and the number of extra cells, or else the batch sizes."""
    lists = [
        f"{key.rpartition('.')[2]} {_values(values)}"
        for key, values in flat(preset.raw.get("grid", {}))
    ]
    cells = len(preset.raw.get("cells", []))
    beside = [f"{cells} cell{'s' * (cells > 1)}"] if cells and lists else []
    if lists:
        return " + ".join([" × ".join(lists), *beside])
    sizes = sorted({c.settings.train.batch_size for c in preset.configurations})
    return f"batch_size {_values(sizes)}"


def _values(values: Sequence[Any]) -> str:
    shown = ", ".join(_value(each) for each in values[:SHOWN_VALUES])
    return shown + (f", … {_value(values[-1])}" if len(values) > SHOWN_VALUES else "")


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else printable(value)


def _training(preset: Preset) -> str:
    trains = [c.settings.train for c in preset.configurations]
    optimizers = ", ".join(dict.fromkeys(train.optimizer for train in trains))
    rates = ", ".join(dict.fromkeys(f"{train.lr:g}" for train in trains))
    budgets = (
        f"{getattr(train, name):,g} {name}"
        for train in trains
        for name in BUDGETS
        if getattr(train, name) is not None
    )
    first = f"{optimizers}, lr {rates}, {' or '.join(dict.fromkeys(budgets))}"
    return ", ".join([first, *_changes(preset)])


def _changes(preset: Preset) -> list[str]:
    """Return what changes during a run, in any configuration."""
    settings = [configuration.settings for configuration in preset.configurations]
    changes: dict[str, None] = {}
    for schedule in (each.schedule for each in settings):
        if schedule.kind == "step":
            at = " and ".join(f"{100 * share:.0f} %" for share in schedule.at)
            sign = "÷" if schedule.by == "lr" else "×"
            changes[f"{schedule.by} {sign} {schedule.factor:g} at {at}"] = None
        if schedule.kind == "cosine":
            changes["cosine"] = None
        if schedule.batch_warmup_epochs:
            changes["batch warmup"] = None
    phases = len({phase for each in settings for phase in each.phases})
    return [*changes, *([f"{phases} phase{'s' * (phases > 1)}"] if phases else [])]


def _memory(preset: Preset, limit: int | None) -> str:
    """Return the micro-batch sizes that the preset sets, and the memory limit."""
    asked = [configuration.settings.memory for configuration in preset.configurations]
    micro = list(dict.fromkeys(memory.micro_batch_size for memory in asked))
    bounds = [min(filter(None, (memory.limit_bytes, limit)), default=0) for memory in asked]
    cut = [f"micro-batch {_values(micro)}"] if micro != ["auto"] else []
    limits = [f"at most {shown_size(bound)} per device" for bound in dict.fromkeys(bounds) if bound]
    return "; ".join([*cut, *limits])


def _trials(offer: Offer, preset: Preset, stored: Sequence[StoredSweep]) -> str:
    count, seeds = len(preset.configurations), {len(c.seeds) for c in preset.configurations}
    each = seeds.pop()
    took = expectation(offer, stored)
    estimate = " (estimate)" if took.startswith("about") else ""
    many = f"{count} configuration{'s' * (count > 1)}"
    after = preset.trials_after_choice
    trials = f"{preset.trial_count} trials{f' and {after} after the choice' if after else ''}"
    if seeds:
        joint = f"{many}: {trials}" if after else f"{trials} of {many}"
        return f"{joint}, {took}{estimate}"
    return f"{many} × {each} seed{'s' * (each > 1)} = {trials}, {took}{estimate}"
