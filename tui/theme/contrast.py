"""The contrast of two colours as WCAG 2 defines it."""

LINEAR_BELOW = 0.04045
WEIGHTS = (0.2126, 0.7152, 0.0722)


def luminance(colour: str) -> float:
    """Return the relative luminance of `#rrggbb`: 0 for black, 1 for white."""
    return sum(weight * _linear(part) for weight, part in zip(WEIGHTS, parts(colour), strict=True))


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colours: 1 if they are the same, 21 for black and white."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def mixed(colour: str, background: str, share: float) -> str:
    """Return a share of a colour mixed with a background."""
    pairs = zip(parts(colour), parts(background), strict=True)
    return "#" + "".join(f"{round(a * share + b * (1 - share)):02x}" for a, b in pairs)


def parts(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue of `#rrggbb`, 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _linear(part: int) -> float:
    value = part / 255
    if value <= LINEAR_BELOW:
        return value / 12.92
    return float(((value + 0.055) / 1.055) ** 2.4)
