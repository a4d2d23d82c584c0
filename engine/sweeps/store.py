"""Stored sweeps: how one is made, found, read and locked."""

import difflib
import fcntl
import hashlib
import os
import re
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import platformdirs
import tomli_w
from msgspec.structs import replace

from batchscope.engine.errors import MachineProblem, UsageProblem, printable
from batchscope.engine.experiment.preset import Preset
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.cluster_address import HERE
from batchscope.engine.system.files import is_there, user_path
from batchscope.engine.system.private_folders import make_private

LOCK = "conductor.lock"
LAUNCH = "launch.json"
SWEEP = "sweep.toml"


class Launch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a sweep runs: what the command line said about the machine, not the science.

    `on` is this machine or a cluster; there `checkpoints` is the folder or URL that every node can
    reach, if there is one, and `gpu_share` the part of a GPU that a worker asks for.
    `memory_limit` bounds the memory of each device, in bytes. A worker that is silent for
    `silence_seconds` is taken for hung and replaced. `notes` are what was said of the preset as it
    was changed, and cannot be read off the file that came of it.
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

    @property
    def clustered(self) -> bool:
        """Whether workers are placed on the nodes of a cluster."""
        return self.on != HERE


def home_folder(asked: str | None = None) -> Path:
    """The folder that holds sweeps and data: `--home`, `$BATCHSCOPE_HOME` or the platform's.

    Raises:
        MachineProblem: it cannot be made or written to.
    """
    name = asked or os.environ.get("BATCHSCOPE_HOME") or platformdirs.user_state_dir("batchscope")
    home = user_path(name)
    try:
        make_private(home, home / "sweeps", home / "data")
        if not os.access(home / "sweeps", os.W_OK | os.X_OK):
            raise PermissionError("not writable")
    except OSError as error:
        why = error.strerror or str(error)
        raise MachineProblem(
            f"{printable(home)}: batchscope keeps its sweeps here, but: {why}; "
            "choose another folder with --home or $BATCHSCOPE_HOME"
        ) from None
    return home


def sweep_toml(preset: Preset) -> bytes:
    """What a sweep of this preset keeps as its `sweep.toml`.

    Raises:
        UnicodeEncodeError: a text is no UTF-8.
    """
    return tomli_w.dumps({"name": preset.name, **preset.raw}).encode()


def digest_of(content: bytes) -> str:
    """A short digest of a `sweep.toml`: equal where the same was asked for."""
    return hashlib.sha256(content).hexdigest()[:16]


def create_sweep(home: Path, preset: Preset, launch: Launch) -> Path:
    """Make the folder of a new sweep; its name is the sweep's id.

    Raises:
        UsageProblem: a text is no UTF-8.
        MachineProblem: the disk refuses.
    """
    try:
        written = sweep_toml(preset)
        msgspec.json.encode(launch)  # before anything is made
    except UnicodeEncodeError:
        raise UsageProblem(f"{preset.name}: a text of the preset or a path is not UTF-8") from None
    stem = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", preset.name).strip("-.") or "preset"
    number = 1
    while True:
        suffix = "" if number == 1 else f".{number}"
        folder = home / "sweeps" / f"{stem}{suffix}-{slug[:40]}"
        try:
            folder.mkdir(mode=0o700)
            break
        except FileExistsError:
            number += 1
        except OSError as error:
            raise MachineProblem(f"{printable(folder)}: {error.strerror}") from None
    kept = _kept_for(folder.name, launch.checkpoints)
    launch = replace(launch, notes=preset.notes, checkpoints=kept)
    try:
        (folder / SWEEP).write_bytes(written)
        (folder / LAUNCH).write_bytes(msgspec.json.encode(launch))
    except OSError as error:
        raise MachineProblem(f"{printable(folder)}: {error.strerror}") from None
    return folder


def _kept_for(sweep: str, where: str) -> str:
    """Where the checkpoints of one sweep go, if elsewhere: many may use the same place.

    Sweeps of two machines that begin in the same second have the same name, and yet keep apart.
    """
    return f"{where.rstrip('/')}/{sweep}-{secrets.token_hex(4)}" if where else ""


def read_launch(folder: Path) -> Launch:
    """How the sweep in this folder was launched.

    Raises:
        UsageProblem: the folder holds no readable sweep.
    """
    try:
        return msgspec.json.decode((folder / LAUNCH).read_bytes(), type=Launch)
    except (OSError, msgspec.MsgspecError):
        raise UsageProblem(f"{printable(folder)}: holds no sweep that can be read") from None


def conductor_lives(folder: Path) -> bool:
    """Whether anyone (a conductor, or a worker of one) holds the sweep's lock."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(descriptor)


def load_state(folder: Path) -> SweepState:
    """The fold of a stored sweep's whole journal."""
    return SweepState().fold(journal.Reader(folder / journal.NAME).read_all())


def sweep_folders(home: Path) -> list[Path]:
    """Folders of stored sweeps, newest first."""
    folders = [p for p in (home / "sweeps").glob("*") if is_there(p / LAUNCH)]
    return sorted(folders, key=lambda path: path.name, reverse=True)


def find_sweep(home: Path, asked: str | None) -> Path:
    """The stored sweep of that id (or unambiguous start or end of one); the newest for None.

    Raises:
        UsageProblem: there is none, or several.
    """
    folders = sweep_folders(home)
    if asked is None:
        if not folders:
            raise UsageProblem(f"no sweep is stored under {printable(home)}")
        return next((folder for folder in folders if conductor_lives(folder)), folders[0])
    exact = [folder for folder in folders if folder.name == asked]
    near = exact or [f for f in folders if f.name.startswith(asked) or f.name.endswith(asked)]
    if len(near) == 1:
        return near[0]
    if near:
        some = ", ".join(folder.name for folder in near[:4])
        raise UsageProblem(f"{printable(asked)!r} fits {len(near)} sweeps: {some}")
    names = [folder.name for folder in folders]
    close = difflib.get_close_matches(asked, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "; `batchscope list` names them"
    raise UsageProblem(f"no stored sweep {printable(asked)!r}{hint}")


LOCK_PATIENCE_SECONDS = 3.0


def take_lock(folder: Path, patience: float = LOCK_PATIENCE_SECONDS) -> int | None:
    """Hold the sweep's lock; None if another process keeps it.

    A viewer that asks whether the sweep lives touches the lock for a moment, hence the retries.
    """
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except OSError:
            if time.monotonic() > deadline:
                os.close(lock)
                return None
            time.sleep(0.02)
