"""Sends a command to a running sweep from a separate process."""

import subprocess
import sys
from pathlib import Path

from tests.functional.lab import Lab


def ask(lab: Lab, folder: Path, command: str) -> None:
    """Send a command as the board does: to the running conductor, or to a new one."""
    script = (
        "import sys; from pathlib import Path\n"
        "from batchscope.engine.sweeps.requests import ask\n"
        "from batchscope.engine.sweeps.commands import *\n"
        f"ask(Path(sys.argv[1]), {command})\n"
    )
    words = [sys.executable, "-P", "-W", "ignore", "-c", script, str(folder)]
    subprocess.run(words, env=lab.environment(), check=True)
