"""What the menu offers: presets, the broken ones too, and stored sweeps; as rows and previews."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engine.catalog import StoredSweep, preset_files
from engine.datasets import DATASETS
from engine.devices import cores
from engine.estimate import sweep_seconds
from engine.problems import Problem, printable
from engine.reading import Preset, load_preset
from engine.sizes import shown_size
from engine.spec import BUDGETS, Settings
from tui.phases import SIGNS
from tui.picker import Item
from tui.rows import EMPTY, Row, cell, row, spread, wrap
from tui.units import clock, roughly

FIRST = "quickstart"
NAME, STATE, FIELD = 16, 13, 10
SHOWN_SIZES = 12


@dataclass(frozen=True, slots=True)
class Offer:
    """A preset file, and what is in it or what is wrong with it."""

    name: str
    preset: Preset | None
    problem: str = ""


def offers() -> list[Offer]:
    """The shipped presets; one that cannot be read says so instead of spoiling the menu."""
    found = sorted(preset_files().items(), key=lambda item: item[0] != FIRST)
    return [_offer(name, path) for name, path in found]


def _offer(name: str, path: Path) -> Offer:
    try:
        return Offer(name, load_preset(path))
    except Problem as problem:
        return Offer(name, None, str(problem))


def expectation(preset: Preset, stored: list[StoredSweep]) -> str:
    """How long the preset took last time, or may take."""
    for sweep in stored:
        same = sweep.preset == preset.name and sweep.trials == preset.trial_count
        if same and sweep.state == "finished" and sweep.seconds:
            return f"{clock(sweep.seconds)} last time"
    return f"about {roughly(sweep_seconds(preset.configurations, cores()))}"


def preset_item(offer: Offer, stored: list[StoredSweep], width: int) -> Item:
    """The line of a preset."""
    name = cell(offer.name, NAME, "strong")
    if offer.preset is None:
        return Item(row(name, " ", ("✗ cannot be used", "bad")), f"preset:{offer.name}")
    right = row(
        (f"{offer.preset.trial_count:>4} trials", "dim"),
        cell(expectation(offer.preset, stored), 17, "dim", right=True),
    )
    line = spread(row(name, " ", offer.preset.title), right, width)
    return Item(line, f"preset:{offer.name}")


def sweep_item(sweep: StoredSweep, width: int) -> Item:
    """The line of a stored sweep."""
    sign, style = SIGNS.get(sweep.state, ("·", "dim"))
    took = clock(sweep.seconds) if sweep.seconds is not None else ""
    right = row(
        (f"{sweep.finished} of {sweep.trials} trials", "dim"), cell(took, 9, "dim", right=True)
    )
    left = row(
        cell(sweep.preset, NAME, "strong"),
        " ",
        cell(f"{sign} {sweep.state}", STATE, style),
        " ",
        (_when(sweep.id), "dim"),
    )
    return Item(spread(left, right, width), f"sweep:{sweep.id}")


def preset_preview(offer: Offer, stored: list[StoredSweep], width: int) -> list[Row]:
    """What the preset asks, and what it will run."""
    if offer.preset is None:
        return [
            row((f"{printable(offer.name)} cannot be used", "bad")),
            EMPTY,
            *wrap(offer.problem, width),
        ]
    preset = offer.preset
    settings = preset.configurations[0].settings
    took = expectation(preset, stored)
    estimate = " (estimate)" if took.startswith("about") else ""
    fields = [
        ("data", _data(settings)),
        ("model", _model(settings)),
        ("batch", _batch_sizes(preset)),
        ("train", _training(preset)),
        ("trials", _trials(preset)),
        ("time", took + estimate),
        ("source", preset.source),
    ]
    lines = [row((preset.title, "strong")), *wrap(preset.question, width, "accent"), EMPTY]
    for name, text in fields:
        if text:
            first, *rest = wrap(text, max(1, width - FIELD))
            lines += [
                row((f"{name:<{FIELD}}", "dim"), *first),
                *(row(" " * FIELD, *more) for more in rest),
            ]
    return lines


def sweep_preview(sweep: StoredSweep, width: int) -> list[Row]:
    """What is known of a stored sweep, and what opening it does."""
    does = {
        "running": "enter returns to its board",
        "finished": "enter opens its board",
    }.get(sweep.state, "enter opens its board, where r resumes it")
    took = clock(sweep.seconds) if sweep.seconds is not None else ""
    fields = [
        ("sweep", printable(sweep.id)),
        ("preset", printable(sweep.preset)),
        ("state", sweep.state),
        ("trials", f"{sweep.finished} of {sweep.trials} finished"),
        ("time", took),
        ("begun", _when(sweep.id)),
    ]
    lines = [row((printable(sweep.title or sweep.preset), "strong")), row((does, "accent")), EMPTY]
    return lines + [row((f"{name:<{FIELD}}", "dim"), text) for name, text in fields if text]


def _data(settings: Settings) -> str:
    data = DATASETS[settings.data.name]
    images = f"{data.train_size:,} training + {data.test_size:,} test images"
    fetched = f" ({shown_size(data.download_bytes)} download)" if data.download_bytes else ""
    return f"{data.title}: {images}{fetched}"


def _model(settings: Settings) -> str:
    model = settings.model
    sizes = model.hidden or model.channels
    return f"{model.name} {' → '.join(map(str, sizes))}" if sizes else model.name


def _batch_sizes(preset: Preset) -> str:
    sizes = sorted({c.settings.train.batch_size for c in preset.configurations})
    shown = ", ".join(f"{each:,}" for each in sizes[:SHOWN_SIZES])
    return shown + (f", … {sizes[-1]:,}" if len(sizes) > SHOWN_SIZES else "")


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
    return f"{optimizers}, lr {rates}, {' or '.join(dict.fromkeys(budgets))}"


def _trials(preset: Preset) -> str:
    count, seeds = len(preset.configurations), {len(c.seeds) for c in preset.configurations}
    each = seeds.pop()
    if seeds:
        return f"{preset.trial_count} trials of {count} configurations"
    return f"{count} configurations × {each} seed{'s' * (each > 1)} = {preset.trial_count} trials"


def _when(name: str) -> str:
    """The moment in a sweep's id, in local time."""
    try:
        moment = datetime.strptime(name[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return ""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")
