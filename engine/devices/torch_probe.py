"""What torch sees of the machine, asked of a process of its own, since importing it is for workers.

python -P -c PROBE
"""

import contextlib
import os
import subprocess
import sys
from typing import Any

import msgspec

from batchscope.engine.errors import printable

PATIENCE_SECONDS = 120.0
PROBE = """
import json, time
began = time.perf_counter()
import torch
seen = {"version": torch.__version__, "built_for": torch.version.cuda}
seen["seconds"] = time.perf_counter() - began
seen["cpu_capability"] = torch.backends.cpu.get_cpu_capability()
try:
    if torch.version.cuda:
        torch.cuda.init()
    cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    seen["gpus"] = [{"name": c.name, "uuid": str(getattr(c, "uuid", ""))} for c in cards]
    seen["available"] = torch.cuda.is_available()
except Exception as error:
    seen["error"] = str(error)
print()
print(json.dumps(seen))
"""


class SeenGpu(msgspec.Struct, frozen=True):
    """A GPU by torch's word; its UUID bare, or empty where torch does not tell it."""

    name: str
    uuid: str


class TorchSeen(msgspec.Struct, frozen=True):
    """What torch said of itself. `built_for` is a version of CUDA, None for a build without.

    `cpu_capability` is the instruction set that its kernels for the CPU use, such as AVX2.
    `seconds` is how long the import took; `error` is why CUDA could not be used, or, where
    `version` is empty, why torch could not be imported at all.
    """

    version: str = ""
    built_for: str | None = None
    available: bool = False
    gpus: tuple[SeenGpu, ...] = ()
    seconds: float = 0.0
    error: str = ""
    cpu_capability: str = ""


class TorchProbe:
    """A process that imports torch; begun early and awaited late. Use it as a context."""

    def __init__(self, command: tuple[str, ...] = (sys.executable, "-P", "-c", PROBE)) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            # as the conductor's workers are started
            env={"CUDA_DEVICE_ORDER": "PCI_BUS_ID", **os.environ},
        )

    def __enter__(self) -> "TorchProbe":
        return self

    def __exit__(self, *of_an_error: Any) -> None:
        if self._process.stdout and not self._process.stdout.closed:
            self._kill()

    def answer(self, seconds: float = PATIENCE_SECONDS) -> TorchSeen:
        """Its answer; a torch that fails or does not answer in time is one as well."""
        try:
            said, complaint = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._kill()
            return TorchSeen(error=f"it could not be imported within {seconds:.0f} s")
        code = self._process.returncode
        with contextlib.suppress(IndexError, msgspec.MsgspecError):
            if code == 0:  # what a broken torch may have printed is not its answer
                return msgspec.json.decode(said.splitlines()[-1], type=TorchSeen)
        return TorchSeen(error=_last_words(complaint, code))

    def _kill(self) -> None:
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a driver may hold it for ever
            self._process.communicate(timeout=5)


def _last_words(complaint: str, code: int) -> str:
    lines = [printable(line.strip()) for line in complaint.splitlines() if line.strip()]
    ended = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    return lines[-1] if lines else f"it ended without a word ({ended})"
