"""Flips and cuts bytes of stored files, and calls every function that reads them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.functional.damage import readers
from tests.functional.damage.cases import Case, changed, groups, places, short
from tests.functional.damage.readers import Reader, Seen
from tests.functional.damage.recording import Places

EXPORT_EVERY = 40
"""Of so many cases of a sweep's files, one is exported too."""


@dataclass(frozen=True)
class Judged:
    """What a reader made of a case: `same`, `marked`, `refused`, or else what is wrong."""

    case: Case
    reader: str
    outcome: str

    @property
    def wrong(self) -> bool:
        return self.outcome not in ("same", "marked", "refused")


def judged(recorded: Places, seed: int, most: int, only: str = "") -> Iterator[Judged]:
    """Damage every file of a recording in turn, and yield what its readers make of it.

    Of files of one kind, such as the weights of the trials, the first stands for all.

    Args:
        recorded: a recording, which is as before afterwards.
        seed: chooses bytes and values.
        most: how many bytes of a file are damaged at most.
        only: leave out the files without this text in their path.
    """
    for found in groups(recorded.root).values():
        path = found[0]
        if path.is_file() and path.stat().st_size and only in short(recorded.root, path):
            yield from _of_file(recorded, path, seed, most)


def _of_file(recorded: Places, path: Path, seed: int, most: int) -> Iterator[Judged]:
    file = short(recorded.root, path)
    content, chance = path.read_bytes(), random.Random(f"{seed} {file}")
    found = readers.readers_of(file)
    undamaged = {name: read(recorded, path) for name, read in found.items()}
    slow: dict[str, Reader] = {}
    if "list" in found or "weights" in found:
        slow = {"export": readers.export}
        undamaged["export"] = readers.export(recorded, path)
    status = path.stat()
    for number, (word, at, by) in enumerate(places(content, most, chance)):
        kind = f"{word} {at} {by}" if word == "flip" else f"{word} {at}"
        case = Case(file, kind, seed)
        path.write_bytes(changed(content, word, at, by))
        for name, read in {**found, **(slow if number % EXPORT_EVERY == 0 else {})}.items():
            yield Judged(case, name, _outcome(read, recorded, path, undamaged[name]))
    path.write_bytes(content)
    path.chmod(status.st_mode & 0o777)


def _outcome(read: Reader, recorded: Places, path: Path, before: Seen) -> str:
    try:
        now = read(recorded, path)
    except readers.REFUSALS:
        return "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if now.figures == before.figures:
        return "same"
    return "marked" if now.marks != before.marks else "differs without a mark"
