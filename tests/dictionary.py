"""Compares an exported folder with the data dictionary of `docs/export.md`.

A second-level heading names a file. A table with the first column `column` lists the file's columns
in their order; a table with the first column `key` lists the keys of a JSON object. Objects inside
it have third-level headings with their path: `[]` is each entry of a list, `.*` any key that has no
separate section. A unit that begins with `by ` marks an object with keys that are not defined.

The tables of metrics are generated: see `docs/make_export.py`.
"""

import csv
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from batchscope.engine.metrics.bias_variance import LEAST_SEEDS

PAGE = Path(__file__).parent.parent / "docs" / "export.md"
NAME = re.compile(r"`([^`]+)`")
Asks = Callable[[dict[str, Any]], bool]


def _always(_: dict[str, Any]) -> bool:
    return True


def _probes(raw: dict[str, Any]) -> bool:
    return bool(raw.get("probe"))


def _aims(raw: dict[str, Any]) -> bool:
    return any(key.startswith("target_") for key in raw["train"])


WHERE: dict[str, Asks] = {
    "probes.csv": _probes,
    "probe_bins.csv": _probes,
    "competitions.csv": _probes,
    "sharpness.csv": lambda raw: bool(raw.get("sharpness", {}).get("epsilon")),
    "interpolation.csv": lambda raw: bool(raw.get("interpolation")),
}
"""Files that only some exports have, and whether a preset has them."""
ASKED = {
    "report.html": "report",
    "figures/": "report",
    "tensorboard/": "tensorboard",
    "weights/": "weights",
}
"""Files that depend on the options of an export."""
OPTIONAL: dict[str, Asks] = {
    "choices": lambda raw: bool(raw.get("select")),
    "critical_batch_size": _aims,
    "pareto": _always,
    "noise_scale": _always,
    "primary_metric": lambda raw: "task" in raw,
    "bias_variance": lambda raw: raw.get("seeds", 1) >= LEAST_SEEDS,
    "findings.probes": lambda raw: bool(raw.get("probe", {}).get("batch_sizes")),
    "findings.competitions": lambda raw: bool(raw.get("probe", {}).get("pairs")),
}
"""Keys of `findings.json` that only some exports have, and whether a preset has them."""


class Word(NamedTuple):
    """A column or a key with its unit and definition."""

    name: str
    unit: str
    definition: str
    optional: bool

    @property
    def free(self) -> bool:
        """Whether the value is an object with keys that are not defined."""
        return self.unit.startswith("by ")


Words = dict[str, Word]


class Dictionary(NamedTuple):
    """Files with their descriptions, columns by file, and keys by file and path."""

    files: dict[str, str]
    columns: dict[str, Words]
    keys: dict[str, dict[str, Words]]


def dictionary(text: str | None = None) -> Dictionary:
    """Parse the page, or another text, as a dictionary."""
    found = Dictionary({}, {}, {})
    file, paths, kind = "", [""], ""
    for line in (text or PAGE.read_text(encoding="utf-8")).splitlines():
        cells = _cells(line)
        if line.startswith("## "):
            file, paths = next(iter(NAME.findall(line)), ""), [""]
        elif line.startswith("### "):
            paths = NAME.findall(line)
        elif not cells:
            kind = ""
        elif not kind:
            kind = cells[0]
        elif kind == "file" and "`" in cells[0]:
            found.files.update(dict.fromkeys(NAME.findall(cells[0]), cells[1]))
        elif kind == "column" and "`" in cells[0]:
            _add(found.columns.setdefault(file, {}), cells, file)
        elif kind == "key" and "`" in cells[0]:
            for path in paths:
                _add(found.keys.setdefault(file, {}).setdefault(path, {}), cells, path)
    return found


def _cells(line: str) -> list[str]:
    if not line.startswith("|"):
        return []
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def _add(words: Words, cells: list[str], where: str) -> None:
    names, units = NAME.findall(cells[0]), cells[1].split(", ")
    spread = units if len(units) == len(names) else [cells[1]] * len(names)
    for name, unit in zip(names, spread, strict=True):
        assert name not in words, f"{where}: {name} is defined twice"
        assert unit, f"{where}: {name} has no unit"
        assert cells[2], f"{where}: {name} has no definition"
        words[name] = Word(name, unit, cells[2], "(optional)" in cells[0])


def check_export(folder: Path, *asked: str) -> None:
    """Assert that every file, column and key is defined, and that all that is defined exists.

    The preset in the folder, and the options `asked`, decide which optional parts must exist.
    """
    page, raw = dictionary(), tomllib.loads((folder / "sweep.toml").read_text(encoding="utf-8"))
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    for known in page.files:
        there = sorted(name for name in written if _is(name, known))
        wanted = ASKED[known] in asked if known in ASKED else WHERE.get(known, _always)(raw)
        assert bool(there) == wanted, known
        written -= set(there)
    assert not written, "not in the list of files"
    for name in page.columns.keys() & {path.name for path in folder.iterdir()}:
        assert _header(folder / name) == list(page.columns[name]), name
    for name, keys in page.keys.items():
        document = json.loads((folder / name).read_text(encoding="utf-8"))
        said = dict(differences(document, "", keys))
        assert not said, f"{name}: {said}"
        for path, needed in ((p, w) for p, w in OPTIONAL.items() if p in optional(keys)):
            assert (_at(document, path) is not None) == needed(raw), f"{name}: {path}"


def _is(name: str, known: str) -> bool:
    return name.startswith(known) if known.endswith("/") else Path(name).match(known)


def optional(keys: dict[str, Words]) -> set[str]:
    """Return the paths of all optional keys."""
    return {
        f"{path}.{name}".removeprefix(".")
        for path, words in keys.items()
        for name, word in words.items()
        if word.optional
    }


def _at(document: Any, path: str) -> Any:
    for name in path.split("."):
        document = document.get(name)
    return document


def _header(path: Path) -> list[str]:
    with open(path, encoding="utf-8") as file:
        return next(csv.reader(file))


def differences(value: Any, path: str, known: dict[str, Words]) -> Iterator[tuple[str, str]]:
    """Yield the keys that are missing or undefined in an object and in all objects inside it."""
    if isinstance(value, list):
        for each in value:
            yield from differences(each, f"{path}[]", known)
        return
    if not isinstance(value, dict):
        return
    words = known.get(path) or known.get(f"{path.rpartition('.')[0]}.*")
    if words is None:
        yield path, "has no section"
        return
    for name in value.keys() - words.keys():
        yield f"{path}.{name}", "is not defined"
    for name in words.keys() - value.keys():
        if not words[name].optional:
            yield f"{path}.{name}", "is defined and not written"
    for name in value.keys() & words.keys():
        inner = f"{path}.{name}".removeprefix(".")
        if words[name].free:
            for key, each in value[name].items():
                yield from differences(each, f"{inner}.{key}", known)
        else:
            yield from differences(value[name], inner, known)
