"""The tables of `docs/architecture.md` name each package once, on the floor that it has."""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "architecture.md"
ROW = re.compile(r"^\| `([\w/.]+)` \| .+ \| (\d+) \|$", re.MULTILINE)
CONTAINERS = ("engine", "engine/training", "tui")


def rows() -> list[tuple[str, int]]:
    """Each package or file of the tables by its path, with its floor."""
    found = ROW.findall(PAGE.read_text(encoding="utf-8"))
    return [(name, int(floor)) for name, floor in found]


def floors() -> dict[str, int]:
    """The floor of each package and file, from 1 at the ground, as the contracts have it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = {}
    for contract in settings["tool"]["importlinter"]["contracts"]:
        for container in contract.get("containers", ()):
            folder = container.removeprefix("batchscope.").replace(".", "/")
            for floor, layer in enumerate(reversed(contract["layers"]), 1):
                for name in layer.split(" | "):
                    end = "/" if (ROOT / folder / name).is_dir() else ".py"
                    found[f"{folder}/{name}{end}"] = floor
    return found


def test_every_package_has_one_row_and_every_row_a_package() -> None:
    there = [
        f"{folder}/{path.name}{'/' if path.is_dir() else ''}"
        for folder in CONTAINERS
        for path in (ROOT / folder).iterdir()
        if (path / "__init__.py").exists() or (path.suffix == ".py" and path.stem != "__init__")
    ]
    assert len(there) > 40
    assert sorted(name for name, _ in rows()) == sorted(there)


def test_every_package_stands_on_the_floor_of_its_contract() -> None:
    assert dict(rows()) == floors()


def test_the_path_of_one_step_names_classes_and_methods_that_are_there() -> None:
    page = PAGE.read_text(encoding="utf-8")
    diagram = page.partition("## The path of one step")[2].partition("```\n")[2].partition("```")[0]
    named = re.findall(r"\b([A-Z]\w+)\.([a-z_]\w+)", diagram)
    assert len(named) > 25
    there = members()
    for of, name in named:
        assert name in there.get(of, ()), f"{of}.{name}"


def parsed(source: str) -> ast.AST:
    """Return the tree of a source; again if another thread parsed at that moment (gh-106905)."""
    try:
        return ast.parse(source)
    except SystemError:
        return ast.parse(source)


def members() -> dict[str, set[str]]:
    """What each class of the code defines: methods, and attributes that a method sets."""
    found: dict[str, set[str]] = {}
    for path in (*(ROOT / "engine").rglob("*.py"), *(ROOT / "tui").rglob("*.py")):
        for node in ast.walk(parsed(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                own = found.setdefault(node.name, set())
                for part in ast.walk(node):
                    if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                        own.add(part.name)
                    elif isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store):
                        own.add(part.attr)
    return found


def test_files_named_elsewhere_in_the_docs_are_there() -> None:
    for page in (*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")):
        for name in re.findall(
            r"`((?:engine|tui|tests|docs|benchmarks)/[\w/.]+)`", page.read_text()
        ):
            if "NAME" not in name:  # of a file that somebody adds
                assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_links_within_the_docs_lead_somewhere() -> None:
    for page in (*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")):
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
