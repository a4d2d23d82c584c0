"""`launch.json`: where a stored sweep runs, with a checksum as in the lines of its journal.

Files of earlier versions have no checksum, and neither needs one that a person writes in place of a
damaged one.
"""

import zlib
from pathlib import Path
from typing import Annotated

import msgspec

from batchscope.engine.errors import UsageProblem, printable
from batchscope.engine.journal.file import SUM, SUM_LENGTH
from batchscope.engine.sweeps.cluster_address import HERE
from batchscope.engine.system.untrusted_files import decode_json, read_bytes

LAUNCH = "launch.json"
MOST_BYTES = 4 << 20
"""Limit for the file: the longest part are notes on what `--set` changed."""


class Launch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a sweep was launched: the options about the machine, not about the experiment.

    Attributes:
        preset: name of the preset.
        device: value of `--device`.
        workers: number of trials trained at the same time; None is chosen automatically.
        data_dir: folder with images, or None.
        memory_limit: limit per device in bytes, or None.
        silence_seconds: a worker without an event for so long is considered hung and replaced.
        on: this machine (`here`) or a cluster.
        checkpoints: on a cluster, the folder or URL that every node can reach, or empty.
        gpu_share: on a cluster, the part of a GPU that each worker reserves.
        notes: notes about the preset's changes, which the stored preset does not show.
        task_folder: folder that the modules of `[task]` are imported from, or empty.
        exported: whether the preset came in an export, so that its code is trusted by digest.
    """

    preset: str
    device: str = "auto"
    workers: int | None = None
    data_dir: str | None = None
    memory_limit: int | None = None
    silence_seconds: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    on: str = HERE
    checkpoints: str = ""
    gpu_share: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    notes: tuple[str, ...] = ()
    task_folder: str = ""
    exported: bool = False

    @property
    def clustered(self) -> bool:
        """Return whether the workers run on the nodes of a cluster."""
        return self.on != HERE


def encoded(launch: Launch) -> bytes:
    """Return the content of the file.

    Raises:
        UnicodeEncodeError: a string cannot be encoded as UTF-8.
    """
    start = msgspec.json.encode(launch)[:-1]
    return b'%s%s%08x"}' % (start, SUM, zlib.crc32(start))


def decoded(content: bytes) -> Launch:
    """Return what the file says.

    Raises:
        ValueError: it is damaged.
    """
    if content[-SUM_LENGTH:].startswith(SUM):
        start = content[:-SUM_LENGTH]
        if b'%08x"}' % zlib.crc32(start) != content[-10:]:
            raise ValueError("its checksum is wrong")
        content = start + b"}"
    return decode_json(content, Launch)


def read_launch(folder: Path) -> Launch:
    """Read how the sweep in this folder was launched.

    Raises:
        UsageProblem: the file is missing, damaged, or cannot be read.
    """
    launch, problem = look_up(folder)
    if launch is None:
        raise UsageProblem(f"{printable(folder)}: no readable sweep; {problem}")
    return launch


def look_up(folder: Path) -> tuple[Launch | None, str]:
    """Return how a sweep was launched, or else None and what is wrong with the file."""
    try:
        return decoded(read_bytes(folder / LAUNCH, MOST_BYTES, follow=False)), ""
    except FileNotFoundError:
        return None, f"{LAUNCH} is missing"
    except OSError as error:
        return None, f"{LAUNCH} cannot be read: {printable(error.strerror or error)}"
    except ValueError as error:
        return None, f"{LAUNCH} is damaged: {printable(error)}"
