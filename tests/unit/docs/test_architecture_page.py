"""The table of rooms in `docs/architecture.md` names what there is, and all of it."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "architecture.md"
NAME = re.compile(r"`([^`]+)`")
APART = {"__init__.py"}


def rooms() -> Iterator[str]:
    """Each file or folder of the table by its path.

    A bare name lies beside the one before, a folder within the package that the row began with.
    """
    text = PAGE.read_text(encoding="utf-8")
    table = text[text.index("| room | idea |") :].split("\n\n")[0]
    for row in table.splitlines()[2:]:
        package = folder = ""
        for name in NAME.findall(row.split("|")[1]):
            within, _, file = name.removesuffix("/").rpartition("/")
            package = package or within.partition("/")[0]
            if within:
                folder = within if within.startswith(package) else f"{package}/{within}"
            yield f"{folder}/{file}" + "/" * name.endswith("/")


def test_every_room_that_is_named_is_there() -> None:
    named = list(rooms())
    assert len(named) > 100
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert [name for name in named if (ROOT / name).is_dir() != name.endswith("/")] == []


def test_no_room_is_named_twice() -> None:
    named = list(rooms())
    assert sorted(name for name in set(named) if named.count(name) > 1) == []


def test_every_module_has_its_place_in_the_table() -> None:
    named = list(rooms())
    folders = tuple(name for name in named if name.endswith("/"))
    modules = {
        str(path.relative_to(ROOT))
        for package in ("engine", "tui")
        for path in (ROOT / package).rglob("*.py")
        if path.name not in APART
    }
    assert sorted(module for module in modules - set(named) if not module.startswith(folders)) == []


def test_files_named_elsewhere_in_the_docs_are_there() -> None:
    for page in (*(ROOT / "docs").glob("*.md"), ROOT / "README.md"):
        for name in re.findall(
            r"`((?:engine|tui|tests|docs|benchmarks)/[\w/.]+)`", page.read_text()
        ):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_links_within_the_docs_lead_somewhere() -> None:
    for page in (*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"):
        text = page.read_text(encoding="utf-8")
        for target, _, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(#([^)]*))?\)", text):
            path = (page.parent / target) if target else page
            assert path.exists(), f"{page.name}: {target}"
            if anchor:
                assert anchor in anchors(path), f"{page.name}: #{anchor}"


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
