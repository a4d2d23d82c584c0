"""The results of a sweep in a few words: `test mae 0.561 to 0.606`."""

from batchscope.engine.errors import printable
from batchscope.engine.formatting import significant
from batchscope.engine.metrics.primary_metric import IN_WORDS

ACCURACY = "accuracy"


def result_text(measure: str, best: float | None, worst: float | None) -> str:
    """Return the metric and the means of its best and worst configuration; empty without any."""
    if not measure or best is None or worst is None:
        return ""
    part, _, name = measure.partition("_")
    ends = [_shown(value, name) for value in (best, worst)]
    between = " to ".join(dict.fromkeys(ends))
    unit = " %" if name == ACCURACY else ""
    return printable(f"{IN_WORDS.get(part, part)} {name.replace('_', ' ')} {between}{unit}")


def short_result(measure: str, best: float | None, worst: float | None) -> str:
    """Return the same for a line of a list: `mae 0.561–0.606`."""
    if not measure or best is None or worst is None:
        return ""
    name = measure.partition("_")[2]
    is_accuracy = name == ACCURACY
    ends = [f"{100 * end:.1f}" if is_accuracy else significant(end) for end in (best, worst)]
    unit = " %" if is_accuracy else ""
    return printable(f"{name.replace('_', ' ')} {'–'.join(dict.fromkeys(ends))}{unit}")


def _shown(value: float, name: str) -> str:
    return f"{100 * value:.2f}" if name == ACCURACY else significant(value)
