"""Creates, finds, reads and locks stored sweeps."""

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
from batchscope.engine.system.locks import check_locks, lock
from batchscope.engine.system.private_folders import check_unshared, make_private

LOCK = "conductor.lock"
NO_LOCKS = "its file system cannot lock files (flock)"
LAUNCH = "launch.json"
SWEEP = "sweep.toml"
LONGEST_SLUG = 40
OWN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


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
        """Return whether the workers run on the nodes of a cluster."""
        return self.on != HERE


def home_folder(name: str | None = None) -> Path:
    """Return the folder for sweeps and data: `--home`, `$BATCHSCOPE_HOME` or the platform's.

    Raises:
        MachineProblem: it cannot be created or written to.
    """
    name = name or os.environ.get("BATCHSCOPE_HOME") or platformdirs.user_state_dir("batchscope")
    home = user_path(name)
    try:
        make_private(home, home / "sweeps", home / "data")
        if not os.access(home / "sweeps", os.W_OK | os.X_OK):
            raise PermissionError("not writable")
    except OSError as error:
        why = error.strerror or str(error)
        raise MachineProblem(
            f"{printable(home)}: cannot be used for sweeps and data: {why}; "
            "choose another folder with --home or $BATCHSCOPE_HOME"
        ) from None
    return home


def sweep_toml(preset: Preset) -> bytes:
    """Return the content of `sweep.toml` for a sweep of this preset.

    Raises:
        UnicodeEncodeError: a string cannot be encoded as UTF-8.
    """
    return tomli_w.dumps({"name": preset.name, **preset.raw}).encode()


def digest_of(content: bytes) -> str:
    """Return a short digest of a `sweep.toml`, equal for equal presets."""
    return hashlib.sha256(content).hexdigest()[:16]


def create_sweep(home: Path, preset: Preset, launch: Launch) -> Path:
    """Create the folder of a new sweep; its name is the sweep's id.

    Raises:
        UsageProblem: a string of the preset or a path is not UTF-8.
        MachineProblem: the folder cannot be written.
    """
    try:
        written = sweep_toml(preset)
        msgspec.json.encode(launch)  # checked before the folder is created
    except UnicodeEncodeError:
        raise UsageProblem(
            f"{preset.name}: a string of the preset or a path is not UTF-8"
        ) from None
    stem = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", preset.name).strip("-.")[:LONGEST_SLUG]
    slug = slug.rstrip("-.") or "preset"  # Windows and CIFS drop a last dot
    number = 1
    home_folder(str(home))  # the menu has only read it until now
    check_locks(home / "data")
    if not (home / "sweeps" / os.pardir).samefile(home):  # a link, perhaps to another disk
        check_locks(home / "sweeps")
    while True:
        suffix = "" if number == 1 else f".{number}"
        folder = home / "sweeps" / f"{stem}{suffix}-{slug}"
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
    """Return the folder or URL for the checkpoints of one sweep below a shared one.

    The random part keeps sweeps apart that two machines start in the same second.
    """
    return f"{where.rstrip('/')}/{sweep}-{secrets.token_hex(4)}" if where else ""


def read_launch(folder: Path) -> Launch:
    """Read how the sweep in this folder was launched.

    Raises:
        UsageProblem: the folder has no readable sweep.
    """
    try:
        return msgspec.json.decode((folder / LAUNCH).read_bytes(), type=Launch)
    except (OSError, msgspec.MsgspecError):
        raise UsageProblem(
            f"{printable(folder)}: no readable sweep; {LAUNCH} is missing or damaged"
        ) from None


def conductor_lives(folder: Path) -> bool:
    """Return whether a conductor or one of its workers holds the sweep's lock."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | OWN)
    except OSError:
        return False
    try:
        return not lock(descriptor, fcntl.LOCK_SH)
    except OSError:  # without locks no conductor starts
        return False
    finally:
        os.close(descriptor)


def load_state(folder: Path) -> SweepState:
    """Read a stored sweep's whole journal into its state."""
    return SweepState().fold(journal.Reader(folder / journal.NAME).read_all())


def sweep_folders(home: Path) -> list[Path]:
    """Return the folders of stored sweeps, newest first."""
    folders = [p for p in (home / "sweeps").glob("*") if is_there(p / LAUNCH)]
    return sorted(folders, key=lambda path: path.name, reverse=True)


def find_sweep(home: Path, name: str | None) -> Path:
    """Find a stored sweep.

    Args:
        home: the home folder.
        name: an id, or a start or end of one; None finds the running sweep, else the newest.

    Raises:
        UsageProblem: no sweep matches, or several do.
    """
    folders = sweep_folders(home)
    if name is None:
        if not folders:
            raise UsageProblem(f"no sweep is stored in {printable(home)}")
        return next((folder for folder in folders if conductor_lives(folder)), folders[0])
    exact = [folder for folder in folders if folder.name == name]
    near = exact or [f for f in folders if f.name.startswith(name) or f.name.endswith(name)]
    if len(near) == 1:
        return near[0]
    if near:
        some = ", ".join(folder.name for folder in near[:4])
        more = ", …" if len(near) > 4 else ""
        raise UsageProblem(
            f"{printable(name)!r} matches {len(near)} sweeps: {some}{more}; write more of the ID"
        )
    names = [folder.name for folder in folders]
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "; `batchscope list` shows the stored ones"
    raise UsageProblem(f"no stored sweep {printable(name)!r}{hint}")


LOCK_PATIENCE_SECONDS = 3.0


def take_lock(folder: Path, patience: float = LOCK_PATIENCE_SECONDS) -> int | None:
    """Take the sweep's lock and return its descriptor; None if another process holds it.

    It is tried repeatedly, because a viewer that checks for a conductor holds the lock briefly.

    Raises:
        OSError: there can be no lock here, or another user could change the sweep.
    """
    check_unshared(folder)
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | OWN, 0o600)
    deadline = time.monotonic() + patience
    try:
        while not lock(descriptor):
            if time.monotonic() > deadline:
                os.close(descriptor)
                return None
            time.sleep(0.02)
    except OSError as error:
        os.close(descriptor)
        raise OSError(error.errno, f"{NO_LOCKS}: {error.strerror}") from None
    return descriptor
