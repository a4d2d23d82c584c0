"""`batchscope doctor`: checks what the program finds on this machine, as lines or as JSON."""

import contextlib
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from batchscope import __version__
from batchscope.engine.devices import nvml
from batchscope.engine.devices.devices import (
    Device,
    Reading,
    cores,
    memory_of,
    processor,
    visible_gpus,
)
from batchscope.engine.devices.torch_probe import TorchProbe, TorchSeen
from batchscope.engine.errors import MachineProblem, printable
from batchscope.engine.formatting import shown_size
from batchscope.engine.sweeps.store import home_folder
from batchscope.engine.system.files import is_folder, user_path
from batchscope.engine.system.locks import check_locks
from batchscope.tui.render.ascii import json_text
from batchscope.tui.render.styled_text import text_of, wrap
from batchscope.tui.terminal.output import say

WIDTH = 80
NAMES = 13
MARKS = {"usable": "✓", "absent": "–", "lacking": "✗"}
PLAIN_MARKS = {"usable": "+", "absent": "-", "lacking": "x"}
COLOURS = {"standard": 16, "256": 256, "truecolor": 1 << 24}
SMALLEST = (80, 24)
ISA_LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: what was checked.
        state: `usable`, `absent` (missing, but not required) or `lacking` (missing and required).
        words: sentences for a person.
        facts: the numbers behind them: bytes, percent, degrees Celsius, watts, seconds.
    """

    name: str
    state: str
    words: Sequence[str]
    facts: dict[str, Any] = field(default_factory=dict)


def run(home: str | None, as_json: bool) -> int:
    """Print the checks; return 0 if nothing required is missing, otherwise 3.

    Raises:
        UsageProblem: `home` begins with `~name`, and there is no such user.
    """
    if home:
        user_path(home)
    with TorchProbe() as question:
        checks = []
        for check in examine(home, question):
            checks.append(check)
            if not as_json:
                say(*lines_of(check).split("\n"))
    lacking = [check.name for check in checks if check.state == "lacking"]
    if as_json:
        say(json_text(_as_json(checks, lacking), sys.stdout))
    else:
        say(
            "", f"problems: {', '.join(lacking)}" if lacking else "everything required is available"
        )
    return MachineProblem.exit_code if lacking else 0


def examine(home: str | None, question: TorchProbe) -> Iterator[Check]:
    """Run the checks one by one, torch last, because importing it takes longest."""
    yield Check("batchscope", "usable", [__version__], {"version": __version__})
    yield _python()
    yield _package("textual", "Textual", "lacking", "no screen can be shown")
    yield _package("pooch", "pooch", "absent", "no data sets can be downloaded")
    yield _processor()
    yield from _memory()
    driver = nvml.driver()
    yield Check("driver", "usable" if driver.answers else "absent", [driver.sentence])
    gpus = visible_gpus()
    yield from (_gpu(gpu, memory_of(gpu)) for gpu in gpus)
    yield from _home(home)
    yield _terminal()
    yield from _torch(question.answer() if _version("torch") else None, gpus)


def lines_of(check: Check) -> str:
    """Return a check as lines of at most 80 cells; continuation lines are indented."""
    marks = MARKS if _can_be_said("".join(MARKS.values())) else PLAIN_MARKS
    margin = f"{marks[check.state]} {printable(check.name):<{NAMES}} "
    lines = [text_of(row) for words in check.words for row in wrap(words, WIDTH - len(margin))]
    return "\n".join(
        (margin if index == 0 else " " * len(margin)) + line for index, line in enumerate(lines)
    )


def _as_json(checks: Sequence[Check], lacking: Sequence[str]) -> dict[str, Any]:
    seen = {
        check.name: {"state": check.state, "text": "; ".join(check.words), **check.facts}
        for check in checks
    }
    return {"usable": not lacking, "lacking": lacking, "checks": seen}


def _python() -> Check:
    words = f"{platform.python_version()}, {sys.executable}"
    return Check("Python", "usable", [words], {"version": platform.python_version()})


def _package(package: str, name: str, without: str, consequence: str) -> Check:
    installed = _version(package)
    words = installed or f"not installed: {consequence}"
    return Check(name, "usable" if installed else without, [words], {"version": installed})


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> Check:
    usable, all_of_them = cores(), os.cpu_count() or 1
    of = f" of {all_of_them}" if all_of_them != usable else ""
    facts = {"title": processor(), "cores": usable}
    return Check("processor", "usable", [processor(), f"{usable}{of} cores usable"], facts)


def _memory() -> Iterator[Check]:
    reading = memory_of(Device("cpu", ""))
    physical = psutil.virtual_memory().total
    available = reading.available or 0
    facts = {"total": physical, "available": available, "sources": reading.sources}
    words = f"{shown_size(physical)}, {shown_size(available)} available"
    yield Check("memory", "usable", [words], facts)
    if reading.limit is None:
        yield Check("memory limit", "absent", ["no cgroup limit"], {"limit": None})
    else:
        words = f"{shown_size(reading.limit)}, set by {reading.sources['limit']}"
        yield Check("memory limit", "usable", [words], {"limit": reading.limit})


def _gpu(gpu: Device, reading: Reading) -> Check:
    words = [gpu.title, str(gpu.handle), _card_memory(reading)]
    facts = {
        name: getattr(reading, name)
        for name in ("total", "used", "available", "utilization", "temperature", "power")
    }
    processes = [
        {"pid": process.pid, "name": _program(process.pid), "held": process.held}
        for process in reading.processes or ()
    ]
    if reading.processes is None:
        words.append("its processes cannot be read")
    elif processes:
        words.append(f"used by {', '.join(map(_user, processes))}")
    else:
        words.append("used by no process")
    words.append(_activity(reading))
    known = None if reading.processes is None else processes
    facts |= {"title": gpu.title, "uuid": gpu.handle, "processes": known}
    state = "usable" if reading.total is not None else "absent"
    return Check(gpu.name, state, words, facts)


def _card_memory(reading: Reading) -> str:
    if reading.total is None or reading.used is None or reading.available is None:
        return "its memory cannot be read"
    sizes = shown_size(reading.total), shown_size(reading.used), shown_size(reading.available)
    return "{}, {} used, {} free".format(*sizes)


def _activity(reading: Reading) -> str:
    def shown(value: float | None, unit: str, what: str) -> str:
        return f"{what} unknown" if value is None else f"{value:.0f} {unit}"

    busy = shown(reading.utilization, "% busy", "utilization")
    degree = "°C" if _can_be_said("°") else "C"
    heat = shown(reading.temperature, degree, "temperature")
    return f"{busy}, {heat}, {shown(reading.power, 'W', 'power')}"


def _user(process: dict[str, Any]) -> str:
    held = f" ({shown_size(process['held'])})" if process["held"] is not None else ""
    return f"{process['name']} {process['pid']}{held}"


def _program(pid: int) -> str:
    try:
        return printable(psutil.Process(pid).name())
    except psutil.Error:
        return "process"


def _home(home_option: str | None) -> Iterator[Check]:
    try:
        home = home_folder(home_option)
    except MachineProblem as problem:
        yield Check("home", "lacking", [str(problem)], {"free": None})
        return
    try:
        _write_in(home / "sweeps")
        check_locks(home / "sweeps")
        free = psutil.disk_usage(str(home)).free
    except OSError as error:
        why = error.strerror or str(error)
        words = [str(home), f"sweeps cannot be stored here: {why}; choose another with --home"]
        yield Check("home", "lacking", words, {"folder": str(home), "free": None})
        return
    except MachineProblem as problem:
        yield Check("home", "lacking", [str(problem)], {"folder": str(home), "free": None})
        return
    words = [str(home), f"writable, {shown_size(free)} free"]
    yield Check("home", "usable", words, {"folder": str(home), "free": free})
    yield _data(home / "data")


def _write_in(folder: Path) -> None:
    """Write a temporary file, because permissions alone do not show that a disk is full."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(4096))
        file.flush()


def _data(folder: Path) -> Check:
    held = 0
    sets: list[str] = []
    for inside, _, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(OSError):  # deleted meanwhile, or not readable
                held += (Path(inside) / file).stat().st_size
    with contextlib.suppress(OSError):
        sets = sorted(path.name for path in folder.iterdir() if _is_prepared(path))
    facts = {"folder": str(folder), "bytes": held, "prepared": sets}
    words = f"{shown_size(held)}: {', '.join(sets)}" if sets else "no data set is prepared yet"
    return Check("data", "usable" if sets else "absent", [str(folder), words], facts)


def _is_prepared(path: Path) -> bool:
    return path.name != "raw" and not path.name.startswith(".") and is_folder(path)


def _terminal() -> Check:
    from rich.console import Console

    streams = {"stdin": sys.stdin, "stdout": sys.stdout, "stderr": sys.stderr}
    closed = [name for name, it in streams.items() if it is None or not it.isatty()]
    console = Console(force_terminal=True)
    colours = 0 if console.no_color else COLOURS.get(console.color_system or "", 0)
    encoding = (sys.stdout.encoding or "unknown").upper()
    term = os.environ.get("TERM", "")
    screen = _screen_size()
    facts = {
        "term": term,
        "columns": screen[0] if screen else None,
        "rows": screen[1] if screen else None,
        "colours": colours,
        "encoding": encoding,
    }
    shown = f"{screen[0]}×{screen[1]}" if screen else "size unknown"
    words = [f"{term or 'TERM is not set'}, {shown}, {_colour_text(colours)}, {encoding}"]
    if screen and (screen[0] < SMALLEST[0] or screen[1] < SMALLEST[1]):
        words.append("smaller than 80×24: some panes are hidden")
    if encoding != "UTF-8":
        words.append("curves need UTF-8: set a locale such as C.UTF-8")
    if closed:
        verb = "is" if len(closed) == 1 else "are"
        words.append(
            f"{', '.join(closed)} {verb} not a terminal: sweeps run headless (without a screen)"
        )
    return Check("terminal", "usable" if len(words) == 1 else "absent", words, facts)


def _colour_text(colours: int) -> str:
    return "true colour" if colours > 256 else f"{colours or 'no'} colours"


def _screen_size() -> tuple[int, int] | None:
    for descriptor in (1, 2, 0):
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(descriptor)
            return size.columns, size.lines
    return None


def _torch(seen: TorchSeen | None, gpus: Sequence[Device]) -> Iterator[Check]:
    if seen is None:
        yield Check("torch", "lacking", ["not installed: no training is possible"])
        return
    if not seen.version:
        broken = f"{_version('torch')} is installed, but cannot be imported: {seen.error}"
        yield Check("torch", "lacking", [broken], {"version": None})
        return
    built = f"for CUDA {seen.built_for}" if seen.built_for else "without CUDA"
    facts = {
        "version": seen.version,
        "cuda": seen.built_for,
        "seconds": seen.seconds,
        "cpu_capability": seen.cpu_capability,
    }
    words = [f"{seen.version}, built {built}, imported in {seen.seconds:.1f} s"]
    words.append(f"uses {_instructions(seen.cpu_capability)} on the CPU")
    yield Check("torch", "usable", words, facts)
    if gpus or seen.gpus:
        differs = disagreement(seen, [str(gpu.handle) for gpu in gpus])
        gpu = "GPU" if len(gpus) == 1 else "GPUs"
        agreed = f"torch sees the same {len(gpus)} {gpu} as NVML, in the same order"
        state = "absent" if differs else "usable"
        yield Check("torch's GPUs", state, [differs or agreed], {"seen": len(seen.gpus)})


def _instructions(capability: str) -> str:
    """Return the instruction set that torch uses, and the variables that limit it."""
    limits = [name for name in ISA_LIMITS if os.environ.get(name)]
    name = capability if capability not in ("", "DEFAULT", "NO AVX") else "no vector instructions"
    by = " and ".join(f"{limit}={os.environ[limit]}" for limit in limits)
    return f"{name} ({printable(by)})" if limits else name


def disagreement(seen: TorchSeen, uuids: Sequence[str]) -> str:
    """Return how torch's GPUs differ from NVML's, and what to do; empty if they agree."""
    if not seen.built_for:
        return "torch is built without CUDA, so training uses the CPU; install a CUDA build"
    if not seen.available:
        return f"torch cannot use the GPUs: {printable(seen.error) or 'it gives no reason'}"
    if len(seen.gpus) != len(uuids):
        return f"torch sees {len(seen.gpus)} GPUs, NVML {len(uuids)}"
    theirs = [gpu.uuid.lower() for gpu in seen.gpus]
    ours = [uuid.lower().removeprefix("gpu-") for uuid in uuids]
    if not all(theirs) or any(uuid.startswith("mig-") for uuid in ours) or theirs == ours:
        return ""
    if sorted(theirs) == sorted(ours):
        return "torch numbers the GPUs in another order: set CUDA_DEVICE_ORDER=PCI_BUS_ID"
    return "torch and NVML see different GPUs"


def _can_be_said(text: str) -> bool:
    """Return whether stdout's encoding has these characters."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
