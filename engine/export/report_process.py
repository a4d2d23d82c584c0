"""Draws the report in a separate process.

Only that process loads matplotlib and Jinja2, so that neither the start of the program nor the keys
of a board wait for them. It ends with this process, so it never draws into a folder that is gone.
"""

import os
import subprocess
from pathlib import Path

from batchscope.engine.errors import MachineProblem, printable
from batchscope.engine.sweeps.launcher import module_command
from batchscope.engine.system.standstill import STILL_SECONDS, StoodStill, output_of

REPORT, FIGURES = "report.html", "figures"
SETTINGS = ("MPLBACKEND", "MATPLOTLIBRC", "MATPLOTLIBDATA")
"""Environment variables for other plots, which the report ignores."""
INSTEAD = "export again to draw it, or without it with `--no-report`"


def draw(folder: Path) -> None:
    """Write `report.html` and `figures/` into the folder of an export that has its tables.

    Raises:
        MachineProblem: the report could not be drawn; parts of it may be in the folder.
    """
    kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    try:
        process = subprocess.Popen(
            [
                *module_command("batchscope.engine.export.report.render"),
                str(folder.absolute()),
                str(os.getpid()),
            ],
            cwd=folder,
            env={**kept, "MATPLOTLIBRC": os.devnull, "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise MachineProblem(
            f"the report could not be drawn: {error.strerror}; {INSTEAD}"
        ) from None
    try:
        _, complaint = output_of(process, STILL_SECONDS)
    except StoodStill as problem:
        raise MachineProblem(
            f"the report could not be drawn: its process {problem}; {INSTEAD}"
        ) from None
    except BaseException:  # such as Ctrl-C
        process.kill()
        raise
    if process.returncode:
        why = _why(process.returncode, complaint)
        raise MachineProblem(f"the report could not be drawn: {why}; {INSTEAD}")


def _why(code: int, complaint: bytes) -> str:
    """Return the last line that the process wrote, or how it ended."""
    lines = [line for line in complaint.decode("utf-8", "replace").split("\n") if line.strip()]
    if code < 0:
        return f"killed by signal {-code}"
    return printable(lines[-1].strip()) if lines else f"ended with exit code {code}"
