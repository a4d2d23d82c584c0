"""A choice of `[select]` as one line of text."""

from batchscope.engine.analysis.tuning import TuningChoice


def choice_text(choice: TuningChoice) -> str:
    """64: lr 0.1 (of 0.01, 0.03, 0.1) by validation accuracy 0.9444; the highest tried: ..."""
    tried = " × ".join(_tried(choice, key) for key in _keys(choice))
    names = " and ".join(map(_short, _keys(choice)))
    what = choice.by.replace("_", " ")
    best = next((one for one in choice.candidates if one.configuration == choice.chosen), None)
    if best is None:
        if choice.open:
            return f"{choice.group}: {names} (of {tried}) not chosen yet"
        return f"{choice.group}: {names} (of {tried}) not chosen: none has {what}"
    values = ", ".join(f"{_short(key)} {_plain(best.settings[key])}" for key in _keys(choice))
    text = f"{choice.group}: {values} (of {tried}) by {what} {_value_text(choice)}"
    if best.n < best.seeds:
        text += f" over {best.n} of {best.seeds} seeds"
    ends = [
        f"{_short(key)} is the {end} tried" if len(choice.edge) > 1 else f"the {end} tried"
        for key, end in choice.edge.items()
    ]
    return f"{text}; {', '.join(ends)}: widen the range" if ends else text


def _value_text(choice: TuningChoice) -> str:
    """The value that decided."""
    value = choice.value or 0.0
    digits = {"validation_accuracy": ".4f", "validation_loss": ".4g"}
    return f"{value:{digits.get(choice.by, ',.0f')}}"


def _keys(choice: TuningChoice) -> list[str]:
    """The keys that candidates differ in; all where they differ in none."""
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
