"""Themes: contrast as WCAG 2 measures it, and marks that colour-blind eyes tell apart."""

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.style import Style

from batchscope.engine.errors import UsageProblem
from batchscope.tui.theme.contrast import contrast, luminance
from batchscope.tui.theme.palette import style_of
from batchscope.tui.theme.themes import DEFAULT, THEMES, Theme, check_theme, next_theme
from batchscope.tui.viewmodel.marks import COLOURS

Array = NDArray[np.float64]
TEXT = ("dim", "accent", "title.on", "good", "warn", "bad", "ours", "others")
GRAPHICS = ("frame", "frame.on", "track")
WITH_BACKGROUND = [theme for theme in THEMES.values() if theme.background]

# Machado, Oliveira and Fernandes 2009, severity 1.0, for linear RGB
SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
# Ottosson 2020: linear RGB to cone responses, their cube roots to OKLab
TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def linear(colour: str) -> Array:
    parts = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def oklab(seen: Array) -> Array:
    lab: Array = TO_OKLAB @ np.cbrt(TO_CONES @ np.clip(seen, 0, 1))
    return lab


def least_distance(colours: tuple[str, ...]) -> float:
    """Between any two colours, for whichever sight tells them apart worst."""
    return min(
        float(np.linalg.norm(oklab(sight @ linear(a)) - oklab(sight @ linear(b))))
        for sight in SIGHT.values()
        for a, b in combinations(colours, 2)
    )


def colour_of(style: Style) -> str:
    assert style.color is not None
    assert style.color.triplet is not None
    return style.color.triplet.hex


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#ffffff", "#767676") == pytest.approx(4.54, abs=0.005)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
    assert luminance("#ff0000") == pytest.approx(0.2126)


def test_the_distance_is_that_of_oklab() -> None:
    assert oklab(linear("#ffffff")) == pytest.approx([1, 0, 0], abs=1e-6)
    assert oklab(linear("#ff0000")) == pytest.approx([0.62796, 0.22486, 0.12585], abs=1e-4)
    for sight in SIGHT.values():
        assert sight @ np.ones(3) == pytest.approx(np.ones(3), abs=1e-4), "white stays white"


@pytest.mark.parametrize("theme", WITH_BACKGROUND, ids=lambda theme: theme.name)
def test_every_text_has_its_contrast(theme: Theme) -> None:
    least = 7.0 if theme.name == "contrast" else 4.5
    keys = [*TEXT, *(f"s{index}" for index in range(COLOURS))]
    texts = {key: colour_of(style_of(key, theme.name)) for key in keys}
    for key, colour in {**texts, "": theme.foreground}.items():
        assert contrast(colour, theme.background) >= least, key


@pytest.mark.parametrize("theme", WITH_BACKGROUND, ids=lambda theme: theme.name)
def test_what_is_no_text_is_seen_as_well(theme: Theme) -> None:
    for key in (*GRAPHICS, *(f"s{index}-" for index in range(COLOURS))):
        assert contrast(colour_of(style_of(key, theme.name)), theme.background) >= 3.0, key


@pytest.mark.parametrize("theme", WITH_BACKGROUND, ids=lambda theme: theme.name)
def test_marks_can_be_distinguished_with_any_colour_vision(theme: Theme) -> None:
    assert len(theme.series) == COLOURS
    least = 0.12 if theme.name == "colour-blind" else 0.08
    assert least_distance(theme.series) >= least


@pytest.mark.parametrize("theme", WITH_BACKGROUND, ids=lambda theme: theme.name)
def test_good_and_bad_can_be_distinguished_with_any_colour_vision(theme: Theme) -> None:
    assert least_distance((theme.styles["good"], theme.styles["bad"])) >= 0.08


def test_a_faint_variant_has_less_contrast() -> None:
    for theme in WITH_BACKGROUND:
        for index in range(COLOURS):
            twin, full = (colour_of(style_of(f"s{index}{end}", theme.name)) for end in ("-", ""))
            assert contrast(twin, theme.background) <= contrast(full, theme.background)


@pytest.mark.parametrize("theme", THEMES)
def test_sixteen_colours_are_named_and_differ(theme: str) -> None:
    marks = [style_of(f"s{index}", theme, "sixteen") for index in range(COLOURS)]
    assert len({str(mark.color) for mark in marks}) == COLOURS
    for key in (*TEXT, *GRAPHICS):
        colour = style_of(key, theme, "sixteen").color
        assert colour is not None
        assert colour.number is not None
        assert colour.number < 16


@pytest.mark.parametrize("key", [*TEXT, *GRAPHICS, "strong", "chosen", "s0", "s3-"])
def test_without_colours_there_is_none(key: str) -> None:
    style = style_of(key, "dark", "none")
    assert style.color is None
    assert style.bgcolor is None


def test_themes_go_round() -> None:
    seen = [DEFAULT]
    while (name := next_theme(seen[-1])) != DEFAULT:
        seen.append(name)
    assert seen == list(THEMES) == ["terminal", "dark", "light", "colour-blind", "contrast"]


def test_a_wrong_name_is_met_with_the_nearest() -> None:
    assert check_theme("light") == "light"
    with pytest.raises(UsageProblem, match="no theme 'lihgt'; did you mean 'light'"):
        check_theme("lihgt")
    with pytest.raises(UsageProblem, match="known: terminal, dark, light, colour-blind, contrast"):
        check_theme("zzz")
