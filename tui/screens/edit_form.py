"""The form of a preset's settings as rows: keys, values, and the result of the check."""

from batchscope.engine.analysis.time_estimate import sweep_seconds
from batchscope.engine.devices.devices import cores
from batchscope.engine.errors import printable
from batchscope.engine.experiment.descriptions import description
from batchscope.engine.experiment.draft import Checked, Draft, Setting, default_of, meaning
from batchscope.tui.render.styled_text import EMPTY, Row, cell, fit, row, spread, wrap
from batchscope.tui.render.units import roughly
from batchscope.tui.widgets.list_picker import Item

ANOTHER = ""
KEY, WAS = 24, 22
ROOMY, VALUE = 110, 66


def items(draft: Draft, width: int, query: str = "") -> list[Item]:
    """Return the keys that are set, the others with their defaults, and an entry for any key.

    With a query only those whose key, value or description has all of its words.
    """
    known, others = ([each for each in some if matches(each, query)] for some in draft.settings())
    none = [Item(row((f" no setting matches “{printable(query.strip())}”", "warn")))]
    return [
        *[Item(row((" set by this experiment", "dim")))] * bool(known),
        *(_item(setting, width) for setting in known),
        *[Item(row((" not set: defaults", "dim")))] * bool(others),
        *(_item(setting, width) for setting in others),
        *none * (not known and not others),
        Item(row(("add another setting…", "")), "set:"),
    ]


def matches(setting: Setting, query: str) -> bool:
    """Return whether every word of a query occurs in a setting or in what is said of it."""
    parts = query.casefold().split()
    said = f"{setting.key} {setting.text}"
    if parts:
        said = f"{said} {meaning(setting.key)} {description(setting.key)}".casefold()
    return all(part in said for part in parts)


def _item(setting: Setting, width: int) -> Item:
    value = row((printable(setting.text), "strong" if setting.changed else ""))
    if not setting.text:
        value = row((setting.default or default_of(setting.key) or "–", "dim"))
    left = row(cell(setting.key, KEY, "" if setting.text else "dim"), " ", *value)
    if width >= ROOMY:
        left = row(*fit(left, VALUE), "  ", (meaning(setting.key), "dim"))
    was = EMPTY
    if setting.changed:
        text = f"was {setting.written}" if setting.written else "was not set"
        was = row(cell(text, min(WAS, len(text)), "warn"))
    return Item(spread(left, was, width), f"set:{setting.key}", setting.changed)


def title(name: str, changes: int, checked: Checked | None, width: int) -> Row:
    """Return the title line: the preset, the number of changes, trials and their time."""
    edited = f"{changes} change{'s' * (changes > 1)}" if changes else "no changes"
    left = row(
        (" batchscope", "accent"), " ▸ edit ", (printable(name), "strong"), (f", {edited}", "dim")
    )
    if checked is None:
        return spread(left, EMPTY, width)
    if checked.preset is None:
        return spread(left, row(("✗ not valid ", "bad")), width)
    count = checked.preset.trial_count
    took = roughly(sweep_seconds(checked.preset.foreseen, cores()))
    after = checked.preset.trials_after_choice
    then = f", {after:,} after the choice" if after else ""
    trials = f"{count:,} trial{'s' * (count > 1)}{then}"
    right = row((trials, "strong"), (f", about {took} ", ""))
    return spread(left, right, width)


def notes(key: str, checked: Checked | None, width: int, height: int) -> list[Row]:
    """Return what values the selected key takes, the errors or notes, and what the key does."""
    about = meaning(key) if key else "any setting of a preset, for example grid.momentum=[0, 0.9]"
    lines = wrap(about, width, "dim")
    if checked and checked.problem:
        for problem in checked.problem.split("\n"):
            lines += wrap(f"✗ {problem}", width, "bad")
    elif checked and checked.preset:
        for note in checked.preset.notes:
            lines += wrap(f"! {note}", width, "warn")
    return (lines + wrap(description(key), width, "dim") * bool(description(key)))[:height]
