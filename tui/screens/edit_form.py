"""The form of a preset's settings as rows: keys, values, and what comes of them."""

from batchscope.engine.analysis.time_estimate import sweep_seconds
from batchscope.engine.devices.devices import cores
from batchscope.engine.errors import printable
from batchscope.engine.experiment.draft import Checked, Draft, Setting, default_of, meaning
from batchscope.tui.render.styled_text import EMPTY, Row, cell, fit, row, spread, wrap
from batchscope.tui.render.units import roughly
from batchscope.tui.widgets.list_picker import Item

ANOTHER = ""
KEY, WAS = 24, 22
ROOMY, VALUE = 110, 66


def items(draft: Draft, width: int) -> list[Item]:
    """The keys that are set, then the others with their defaults, then a way to any key."""
    known, others = draft.settings()
    return [
        Item(row((" this experiment", "dim"))),
        *(_item(setting, width) for setting in known),
        Item(row((" not set", "dim"))),
        *(_item(setting, width) for setting in others),
        Item(row(("another key…", "")), "set:"),
    ]


def _item(setting: Setting, width: int) -> Item:
    value = row((printable(setting.text), "strong" if setting.changed else ""))
    if not setting.text:
        value = row((default_of(setting.key) or "–", "dim"))
    left = row(cell(setting.key, KEY, "" if setting.text else "dim"), " ", *value)
    if width >= ROOMY:
        left = row(*fit(left, VALUE), "  ", (meaning(setting.key), "dim"))
    was = EMPTY
    if setting.changed:
        text = f"was {setting.written}" if setting.written else "was not set"
        was = row(cell(text, min(WAS, len(text)), "warn"))
    return Item(spread(left, was, width), f"set:{setting.key}", setting.changed)


def title(name: str, changes: int, checked: Checked | None, width: int) -> Row:
    """What is edited, and how much there is to run."""
    edited = f"{changes} change{'s' * (changes > 1)}" if changes else "no change"
    left = row(
        (" batchscope", "accent"), " ▸ edit ", (printable(name), "strong"), (f", {edited}", "dim")
    )
    if checked is None:
        return spread(left, EMPTY, width)
    if checked.preset is None:
        return spread(left, row(("✗ cannot be launched ", "bad")), width)
    count = checked.preset.trial_count
    took = roughly(sweep_seconds(checked.preset.configurations, cores()))
    right = row((f"{count:,} trial{'s' * (count > 1)}", "strong"), (f", about {took} ", ""))
    return spread(left, right, width)


def notes(key: str, checked: Checked | None, width: int, height: int) -> list[Row]:
    """What the chosen key may be, and what is wrong or worth saying of the whole."""
    about = meaning(key) if key else "any key of a preset, for example grid.momentum=[0, 0.9]"
    lines = wrap(about, width, "dim")
    if checked and checked.problem:
        lines += wrap(f"✗ {checked.problem}", width, "bad")
    elif checked and checked.preset:
        for note in checked.preset.notes:
            lines += wrap(f"! {note}", width, "warn")
    return lines[:height]
