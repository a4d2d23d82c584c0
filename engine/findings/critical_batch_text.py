"""Words the critical batch size and the noise scale, for summary, board and recommendation."""

from collections.abc import Sequence

from batchscope.engine.analysis.noise_scales import NoiseFinding, agrees
from batchscope.engine.findings.critical_batch_size import EXCESS, Critical, Size
from batchscope.engine.formatting import three_digits


def figure(value: float) -> str:
    """Round a count to three digits: 8.25, 31, 205, 207,000."""
    rounded = float(f"{value:.3g}")
    if rounded < 10:
        return three_digits(rounded)
    return f"{rounded if rounded >= 1000 else value:,.0f}"


def critical_size_text(critical: Critical) -> str:
    """Return the critical batch size: 205 [180, 231], above 1,900, below 12 or undetermined."""
    if critical.value is not None:
        low, high = (
            figure(end) if end is not None else "–" for end in (critical.low, critical.high)
        )
        return f"{figure(critical.value)} [{low}, {high}]"
    if critical.above is not None:
        return f"above {critical.above:,.4g}"
    return f"below {critical.below:,.4g}" if critical.below is not None else "undetermined"


def critical_sentence(critical: Critical) -> str:
    """Return the critical batch size as a sentence, or why it is undetermined."""
    so_far = " so far" if critical.provisional else ""
    target = ""
    if critical.target is not None:
        target = f" for a {critical.target_measure.replace('_', ' ')} of {critical.target:g}"
    head = f"Critical batch size{so_far}{target}: {critical_size_text(critical)}"
    if critical.value is None or critical.steps_min is None or critical.samples_min is None:
        return f"{head}, because {critical.reason}."
    steps, samples = figure(critical.steps_min), figure(critical.samples_min)
    return (
        f"{head}, over {critical.n} seeds. At this size a training takes twice the minimum of "
        f"{steps} steps and twice the minimum of {samples} samples."
    )


def aside_sentences(critical: Critical) -> list[str]:
    """Return which batch sizes are not on the curve and why, and the remarks on the fit."""
    out = [
        f"Batch size {each.batch_size} is left out: {each.reason}." for each in critical.left_out
    ]
    return [*out, *(f"{each[0].upper()}{each[1:]}." for each in critical.remarks)]


def noise_sentence(critical: Critical, noise: Sequence[NoiseFinding]) -> str:
    """Return the noise scales of the batch sizes on the curve, compared with the critical one."""
    on_curve = {each.configuration for each in critical.sizes}
    known = [each.value for each in noise if each.value and each.configuration in on_curve]
    if not known:
        return "Noise scale: undetermined." if on_curve else ""
    low, high = figure(min(known)), figure(max(known))
    head = f"Noise scale: {low}" + (
        f" to {high} over the fitted batch sizes" if high != low else ""
    )
    middle = sorted(known)[len(known) // 2]
    same = agrees(middle, critical.value)
    if same is None:
        return f"{head}."
    word = "of the same" if same else "not of the same"
    return f"{head}, {word} order of magnitude as the critical batch size."


def meaning(critical: Critical, batch_size: int) -> str:
    """Return in words what the critical batch size means for the choice of a batch size."""
    if critical.value is None:
        return ""
    low, high = figure(EXCESS * critical.value), figure(critical.value / EXCESS)
    size = next((each for each in critical.sizes if each.batch_size == batch_size), None)
    where = ""
    if size:
        where = f" Batch size {batch_size} is in the regime of {size.regime}{_perhaps(size)}."
    return (
        f"Up to about {low}, a larger batch costs hardly any extra samples; beyond {high}, it "
        f"saves hardly any steps.{where}"
    )


def size_lines(critical: Critical) -> list[str]:
    """Return a line for each batch size on the curve, then the remarks on the fit."""
    lines = [f"{'batch size':>10}  {'steps':>9}  {'samples':>12}  regime"] if critical.sizes else []
    for size in critical.sizes:
        lines.append(
            f"{size.batch_size:>10}  {size.steps:>9,.0f}  {size.samples:>12,.0f}  "
            f"{size.regime}{_perhaps(size)}"
        )
    return [*lines, *aside_sentences(critical)]


def _perhaps(size: Size) -> str:
    return "" if size.sure or size.regime == "undetermined" else " (perhaps)"
