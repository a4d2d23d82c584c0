"""Draws the report in a separate process.

Only that process loads matplotlib and Jinja2, so that neither the start of the program nor the keys
of a board wait for them. It ends with this process, so it never draws into a folder that is gone.
"""

import os
import subprocess
from pathlib import Path

from batchscope.engine.errors import MachineProblem, printable
from batchscope.engine.sweeps.launcher import module_command

REPORT, FIGURES = "report.html", "figures"
SETTINGS = ("MPLBACKEND", "MATPLOTLIBRC", "MATPLOTLIBDATA")
"""Environment variables for other plots, which the report ignores."""
INSTEAD = "use `--no-report` to export without it"


def draw(folder: Path) -> None:
    """Write `report.html` and `figures/` into the folder of an export that has its tables.

    Raises:
        MachineProblem: the report could not be drawn; the folder must not be used.
    """
    kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    try:
        done = subprocess.run(
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
            check=False,
        )
    except OSError as error:
        raise MachineProblem(
            f"the report could not be drawn: {error.strerror}; {INSTEAD}"
        ) from None
    if done.returncode:
        raise MachineProblem(f"the report could not be drawn: {_why(done)}; {INSTEAD}")


def _why(done: "subprocess.CompletedProcess[bytes]") -> str:
    """Return the last line that the process wrote, or how it ended."""
    lines = [line for line in done.stderr.decode("utf-8", "replace").split("\n") if line.strip()]
    if done.returncode < 0:
        return f"killed by signal {-done.returncode}"
    return printable(lines[-1].strip()) if lines else f"ended with exit code {done.returncode}"
