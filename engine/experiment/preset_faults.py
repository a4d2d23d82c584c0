"""What is wrong with a preset, told all at once: every fault with its line, or with its `--set`.

A preset is read strictly, and the first fault ends that. Only then is it looked through again, part
by part, for the others. A fault that merely follows from another is not told: what is found by
taking settings together is looked for only where every key is right by itself.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from batchscope.engine.errors import UsageProblem, printable

MOST_TOLD = 20
_PLACE = re.compile(r"(?P<path>[a-z_][\w-]*(?:\[\d+\]|\.[^\s:.\[]+)*): ")
_UNKNOWN = re.compile(r"unknown key (?P<quote>['\"])(?P<key>.+?)(?P=quote)")
_LAST = re.compile(r"(?:\[\d+\]|\.[^.\[]+)$")
_VARIED = ("grid", "select")
"""Tables in which a setting of another may stand."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        text: the key and what is wrong with it.
        line: the line in the file; 0 if it is not known.
        assignment: the argument of `--set` that is to blame; empty for the file.
    """

    text: str
    line: int = 0
    assignment: str = ""

    @property
    def said(self) -> str:
        """Return the text with what is to blame before it."""
        if self.assignment:
            key = self.assignment.partition("=")[0].strip()
            return f"--set {printable(self.assignment)}: {self.text.removeprefix(f'{key}: ')}"
        return f"line {self.line}: {self.text}" if self.line else self.text


class PresetProblem(UsageProblem):
    """A preset with one fault or several; several take a line each."""

    def __init__(self, where: str, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        if len(faults) == 1:
            (fault,) = faults
            super().__init__(fault.said if fault.assignment else f"{where}: {fault.said}")
            return
        told = [f"  {fault.said}" for fault in faults[:MOST_TOLD]]
        more = [f"  and {len(faults) - MOST_TOLD} more"] * (len(faults) > MOST_TOLD)
        super().__init__("\n".join([f"{where}: {len(faults)} errors", *told, *more]))


def path_of(text: str) -> str:
    """Return the key that a message is about, such as `cells[0].lr`; empty if it names none."""
    place = _PLACE.match(text)
    path = place["path"] if place else ""
    unknown = _UNKNOWN.match(text, place.end() if place else 0)
    if unknown:
        return f"{path}.{unknown['key']}" if path else unknown["key"]
    return path


def line_of(path: str, lines: dict[str, int]) -> int:
    """Return the line of a key, or else of what it belongs in; 0 if neither is in the file.

    A setting may stand in `[grid]` or `[select]`, dotted or bare.
    """
    table, _, name = path.partition(".")
    places = [path]
    if table not in _VARIED and name:
        places += [f"{varied}.{each}" for varied in _VARIED for each in (path, name)]
    for place in places:
        if place in lines:
            return lines[place]
    above = _LAST.sub("", path)
    return line_of(above, lines) if above != path else 0


def is_about(path: str, assignment: str) -> bool:
    """Return whether a fault at a key may come from an argument of `--set`."""
    key = ".".join(part.strip() for part in assignment.partition("=")[0].split("."))
    bare = path.partition(".")[2]
    keys = [path, *(f"{varied}.{each}" for varied in _VARIED for each in (path, bare) if each)]
    return any(each == key or each.startswith((f"{key}.", f"{key}[")) for each in keys if path) or (
        bool(path) and key.startswith(f"{path}.")
    )


def blamed(
    texts: Sequence[str],
    lines: dict[str, int],
    assignments: Sequence[str],
    faults_with: Callable[[Sequence[str]], Sequence[str]],
) -> Iterator[Fault]:
    """Yield a fault for each text, with its line, or with the `--set` that is to blame.

    An assignment is to blame for a fault at its own key, and for one that is not there without it.

    Args:
        texts: what is wrong.
        lines: the line of each key.
        assignments: the arguments of `--set`.
        faults_with: returns what is wrong with other arguments.
    """
    without: dict[str, Sequence[str]] = {}
    alone: Sequence[str] | None = None
    for text in texts:
        path = path_of(text)
        own = [each for each in assignments if is_about(path, each)]
        if assignments and not own:
            alone = faults_with([]) if alone is None else alone
            if text not in alone:
                for each in assignments[-MOST_TOLD:]:
                    if each not in without:
                        without[each] = faults_with([x for x in assignments if x is not each])
                own = [each for each in assignments if text not in without.get(each, (text,))]
        exact = [each for each in own if is_exactly(path, each)]
        if own:
            yield Fault(text, 0, (exact or own)[-1])
        else:
            yield Fault(text, line_of(path, lines))


def is_exactly(path: str, assignment: str) -> bool:
    """Return whether an argument of `--set` sets this very key."""
    return path == ".".join(part.strip() for part in assignment.partition("=")[0].split("."))
