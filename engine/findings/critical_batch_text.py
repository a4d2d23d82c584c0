"""The critical batch size and the noise scale in words, as summary, board and advice tell them."""

from collections.abc import Sequence

from batchscope.engine.analysis.noise_scales import NoiseFinding, agrees
from batchscope.engine.findings.critical_batch_size import EXCESS, Critical, Size
from batchscope.engine.formatting import three_digits


def figure(value: float) -> str:
    """A count to three digits: 8.25, 31, 205, 207,000."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if rounded >= 10 else three_digits(rounded)


def told(found: Critical) -> str:
    """205 [180, 231], or above 1,900, or undetermined."""
    if found.value is not None:
        low, high = (figure(end) if end is not None else "–" for end in (found.low, found.high))
        return f"{figure(found.value)} [{low}, {high}]"
    if found.above is not None:
        return f"above {found.above:,.4g}"
    return f"below {found.below:,.4g}" if found.below is not None else "undetermined"


def critical_sentence(found: Critical) -> str:
    """What it is, and where it is undetermined, why."""
    so_far = " so far" if found.provisional else ""
    target = ""
    if found.target is not None:
        target = f" for a {found.target_measure.replace('_', ' ')} of {found.target:g}"
    head = f"Critical batch size{so_far}{target}: {told(found)}"
    if found.value is None or found.steps_min is None or found.samples_min is None:
        return f"{head}; {found.reason}."
    return (
        f"{head} over {found.n} seeds: there a training takes twice the fewest steps "
        f"({figure(found.steps_min)}) and twice the fewest samples ({figure(found.samples_min)})."
    )


def aside_sentences(found: Critical) -> list[str]:
    """Which batch sizes are not on the curve, and what else is to be known of it."""
    out = [f"Batch size {each.batch_size} is left out: {each.reason}." for each in found.left_out]
    return [*out, *(f"{each[0].upper()}{each[1:]}." for each in found.remarks)]


def noise_sentence(found: Critical, noise: Sequence[NoiseFinding]) -> str:
    """The noise scales of the batch sizes on the curve, and whether they are of its order."""
    on_curve = {each.configuration for each in found.sizes}
    known = [each.value for each in noise if each.value and each.configuration in on_curve]
    if not known:
        return "Noise scale: undetermined." if on_curve else ""
    low, high = figure(min(known)), figure(max(known))
    head = f"Noise scale: {low}" + (
        f" to {high} over the batch sizes on the curve" if high != low else ""
    )
    middle = sorted(known)[len(known) // 2]
    same = agrees(middle, found.value)
    if same is None:
        return f"{head}."
    word = "of its order of magnitude" if same else "of another order of magnitude"
    return f"{head}, {word}."


def meaning(found: Critical, batch_size: int) -> str:
    """What the critical batch size says of a choice."""
    if found.value is None:
        return ""
    low, high = figure(EXCESS * found.value), figure(found.value / EXCESS)
    size = next((each for each in found.sizes if each.batch_size == batch_size), None)
    where = f" {batch_size} is in the regime of {size.regime}{_perhaps(size)}." if size else ""
    return (
        f"Up to about {low} a larger batch costs hardly any samples, beyond {high} it saves hardly "
        f"any steps.{where}"
    )


def size_lines(found: Critical) -> list[str]:
    """A line for each batch size on the curve, and the sentences."""
    lines = [f"{'batch size':>10}  {'steps':>9}  {'samples':>12}  regime"] if found.sizes else []
    for size in found.sizes:
        lines.append(
            f"{size.batch_size:>10}  {size.steps:>9,.0f}  {size.samples:>12,.0f}  "
            f"{size.regime}{_perhaps(size)}"
        )
    return [*lines, *aside_sentences(found)]


def _perhaps(size: Size) -> str:
    return "" if size.sure or size.regime == "undetermined" else " (perhaps)"
