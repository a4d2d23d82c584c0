"""The report in a real browser: no complaints, no requests, and no wider than a phone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import Browser, a_browser, needs_chromium
from tests.functional.lab import copy_of_recorded

pytestmark = needs_chromium

PHONE, DESK = (360, 800), (1280, 900)
SCHEMES = [False, True]
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
INK = "getComputedStyle(document.querySelector('figure svg text')).fill"
TOO_WIDE = """[...document.querySelectorAll('body *')].filter(each =>
    !each.closest('.wide, pre, svg') && each.getBoundingClientRect().right > innerWidth + 0.5
).map(each => each.tagName)"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a small real sweep."""
    lab = copy_of_recorded(tmp_path_factory.mktemp("browser") / "lab")
    lab.reports = True
    outcome = lab.run("--export", "out", "--sweep", lab.only_folder().name)
    assert outcome.code == 0, outcome.err
    return lab.cwd / "out" / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as found:
        yield found


def test_the_browser_itself_complains_and_fetches(browser: Browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<img src='missing.png'><script>console.error('no'); nonsense()</script>")
    browser.open(bad, *DESK)
    browser.value("1")
    assert len(browser.requests) == 2
    assert len(browser.complaints) >= 3


@pytest.mark.parametrize("dark", SCHEMES)
@pytest.mark.parametrize("window", [PHONE, DESK])
def test_nothing_is_fetched_or_complained_of_and_nothing_sticks_out(
    browser: Browser, page: Path, window: tuple[int, int], dark: bool
) -> None:
    browser.open(page, *window, dark=dark)
    assert browser.value("document.documentElement.scrollWidth") == window[0]
    assert browser.value("innerWidth") == window[0]
    assert browser.value(TOO_WIDE) == []
    background, ink = browser.value(BACKGROUND), browser.value(INK)
    assert (background == "rgb(255, 255, 255)") != dark
    assert ink == ("rgb(230, 233, 237)" if dark else "rgb(27, 31, 36)"), "figures follow the page"
    height = browser.value("document.querySelector('figure svg').getBoundingClientRect().height")
    assert height > 150
    assert browser.requests == [page.as_uri()]
    assert browser.complaints == []


def test_a_page_in_the_dark_is_printed_black_on_white(browser: Browser, page: Path) -> None:
    browser.open(page, *DESK, dark=True)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.ask("Emulation.setEmulatedMedia", media="print", features=dark)
    assert browser.value(BACKGROUND) == "rgb(255, 255, 255)"
    assert browser.value("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert browser.value(INK) == "rgb(27, 31, 36)"
    assert browser.value("getComputedStyle(document.querySelector('details')).display") == "none"
    browser.ask("Emulation.setEmulatedMedia", media="", features=dark)
    printed = browser.print()
    assert printed.startswith(b"%PDF")
    assert len(printed) > 20_000
    assert browser.complaints == []
