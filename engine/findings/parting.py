"""Bias and variance as lines of text, as the summary tells them."""

from collections.abc import Sequence

from engine.findings.bias_variance import BiasVariance

LABEL_MOST = 22
PARTS = ("error", "bias", "net_variance", "variance")
NAMES = ("error", "bias", "+ net variance", "(variance)")


def part_lines(found: Sequence[BiasVariance]) -> list[str]:
    """A line for each configuration, in percent ± the jackknife's standard error.

    Of three seeds the parts have none. Without any configuration there is no line.
    """
    if not found:
        return []
    width = min(LABEL_MOST, max(len("batch size"), *(len(each.label) for each in found)))
    lines = [f"{'batch size':>{width}}" + "".join(f"{name:>15}" for name in NAMES) + "  %"]
    for each in found:
        told = (f"{_told(each, part):>15}" for part in PARTS)
        lines.append(f"{each.label[:width]:>{width}}{''.join(told)}")
    return lines


def _told(of: BiasVariance, part: str) -> str:
    value, error = getattr(of, part), getattr(of, f"{part}_se")
    return f"{100 * value:.2f}" + ("" if error is None else f" ± {100 * error:.2f}")
