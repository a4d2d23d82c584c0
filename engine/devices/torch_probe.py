"""Checks what torch sees of this machine, in a separate process: only workers import torch.

python -P -c PROBE
"""

import contextlib
import os
import subprocess
import sys
from typing import Any

import msgspec

from batchscope.engine.errors import printable

PATIENCE_SECONDS = 60.0
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
    """A GPU that torch sees; its UUID has no prefix, and is empty if torch does not report it."""

    name: str
    uuid: str


class TorchSeen(msgspec.Struct, frozen=True):
    """What torch reports about itself.

    Attributes:
        version: torch's version; empty if it cannot be imported.
        built_for: its version of CUDA; None for a build without CUDA.
        available: whether CUDA can be used.
        gpus: the GPUs that it sees.
        seconds: duration of the import.
        error: why CUDA cannot be used, or without a version why torch cannot be imported.
        cpu_capability: instruction set of its CPU kernels, such as AVX2.
    """

    version: str = ""
    built_for: str | None = None
    available: bool = False
    gpus: tuple[SeenGpu, ...] = ()
    seconds: float = 0.0
    error: str = ""
    cpu_capability: str = ""


class TorchProbe:
    """A process that imports torch, to be started early and read late. Use it as a context."""

    def __init__(self, command: tuple[str, ...] = (sys.executable, "-P", "-c", PROBE)) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            # the environment with which the conductor starts workers
            env={"CUDA_DEVICE_ORDER": "PCI_BUS_ID", **os.environ},
        )

    def __enter__(self) -> "TorchProbe":
        return self

    def __exit__(self, *of_an_error: Any) -> None:
        if self._process.stdout and not self._process.stdout.closed:
            self._kill()

    def answer(self, seconds: float = PATIENCE_SECONDS) -> TorchSeen:
        """Return what torch reports, or an error if it fails or needs more than `seconds`."""
        try:
            said, complaint = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._kill()
            return TorchSeen(error=f"the import did not end within {seconds:.0f} s")
        code = self._process.returncode
        with contextlib.suppress(IndexError, msgspec.MsgspecError):
            if code == 0:  # after an error, the last line may be anything
                return msgspec.json.decode(said.splitlines()[-1], type=TorchSeen)
        return TorchSeen(error=_last_words(complaint, code))

    def _kill(self) -> None:
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a driver may block it for ever
            self._process.communicate(timeout=5)


def _last_words(complaint: str, code: int) -> str:
    lines = [printable(line.strip()) for line in complaint.splitlines() if line.strip()]
    ended = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    return lines[-1] if lines else f"the import ended without a message ({ended})"
