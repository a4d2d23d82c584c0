"""Words a choice of `[select]` as one line of text."""

from batchscope.engine.analysis.tuning import TuningChoice, same_seeds

SAME_SEEDS = "chosen and judged on the same seeds, which flatters it; set select.seeds_after"


def judged_on(choice: TuningChoice) -> str:
    """Return in words which seeds judge a choice; empty while nothing is chosen."""
    if choice.chosen is None:
        return ""
    if not choice.fresh_seeds:
        return SAME_SEEDS if same_seeds(choice) else ""
    seeds = f"{choice.fresh_seeds} fresh seed{'s' * (choice.fresh_seeds > 1)}"
    return f"{seeds} still to be trained" if choice.fresh_open else f"judged on {seeds}"


def choice_text(choice: TuningChoice) -> str:
    """Return a choice as text: 64: lr 0.1, chosen from 0.01, 0.03, 0.1 (validation accuracy 0.94).

    It says which seeds judge the choice, and notes if the chosen value is the lowest or highest
    that was tried.
    """
    tried = " × ".join(_tried(choice, key) for key in _keys(choice))
    names = " and ".join(map(_short, _keys(choice)))
    what = choice.by.replace("_", " ")
    best = next((one for one in choice.candidates if one.configuration == choice.chosen), None)
    if best is None:
        if choice.open:
            return f"{choice.group}: {names} not chosen yet (from {tried})"
        lack = f"no candidate has a value for {what}"
        return f"{choice.group}: {names} not chosen (from {tried}): {lack}"
    values = ", ".join(f"{_short(key)} {_plain(best.settings[key])}" for key in _keys(choice))
    over = f" over {best.n} of {best.seeds} seeds" if best.n < best.seeds else ""
    text = f"{choice.group}: {values}, chosen from {tried} ({what} {_value_text(choice)}{over})"
    ends = [
        f"{_short(key)} is the {end} tried" if len(choice.edge) > 1 else f"it is the {end} tried"
        for key, end in choice.edge.items()
    ]
    edge = f"{' and '.join(ends)}, so widen the range" if ends else ""
    return "; ".join(part for part in (text, judged_on(choice), edge) if part)


def _value_text(choice: TuningChoice) -> str:
    """Format the value of the selection criterion."""
    value = choice.value or 0.0
    digits = {"validation_accuracy": ".4f", "steps_to_target": ",.0f"}
    return f"{value:{digits.get(choice.by, '.4g')}}"


def _keys(choice: TuningChoice) -> list[str]:
    """Return the keys in which the candidates differ; all keys if they do not differ."""
    keys = list(choice.candidates[0].settings)
    return [key for key in keys if len(_values(choice, key)) > 1] or keys


def _values(choice: TuningChoice, key: str) -> list[str]:
    return list(dict.fromkeys(_plain(one.settings[key]) for one in choice.candidates))


def _tried(choice: TuningChoice, key: str) -> str:
    return ", ".join(_values(choice, key))


def _short(key: str) -> str:
    return key.split(".", 1)[1]


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
