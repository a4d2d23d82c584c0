"""Creates, finds and locks stored sweeps."""

import difflib
import errno
import fcntl
import os
import re
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path

import platformdirs
from msgspec.structs import replace

from batchscope.engine.errors import MachineProblem, UsageProblem, printable
from batchscope.engine.experiment.preset import Preset
from batchscope.engine.journal import file as journal
from batchscope.engine.sweeps.cluster_address import refuse_task
from batchscope.engine.sweeps.launch_file import LAUNCH as LAUNCH
from batchscope.engine.sweeps.launch_file import Launch as Launch
from batchscope.engine.sweeps.launch_file import encoded
from batchscope.engine.sweeps.launch_file import read_launch as read_launch
from batchscope.engine.sweeps.stored_journal import load_state as load_state
from batchscope.engine.sweeps.sweep_file import SWEEP as SWEEP
from batchscope.engine.sweeps.sweep_file import digest_of as digest_of
from batchscope.engine.sweeps.sweep_file import sweep_toml as sweep_toml
from batchscope.engine.sweeps.sweep_file import write_all
from batchscope.engine.sweeps.unfinished_folders import unfinished_folder
from batchscope.engine.system.files import user_path
from batchscope.engine.system.locks import check_locks, lock
from batchscope.engine.system.private_folders import SHARED, check_unshared, make_private
from batchscope.engine.system.untrusted_files import open_regular, open_to_write

LOCK = "conductor.lock"
NO_LOCKS = "its file system cannot lock files (flock)"
LONGEST_SLUG = 40
MOST_NAMED = 8
"""How many sweeps a message names that a part of an id fits."""

_NAMED = re.compile(r"\d{8}-\d{6}")


def home_folder(name: str | None = None, writes: bool = True) -> Path:
    """Return the folder for sweeps and data: `--home`, `$BATCHSCOPE_HOME` or the platform's.

    Args:
        name: value of `--home`.
        writes: whether something will be written to it. If not, it is neither created nor changed,
            and may be missing, read-only or another user's.

    Raises:
        MachineProblem: it cannot be created or written to; or it cannot be read.
    """
    name = name or os.environ.get("BATCHSCOPE_HOME") or platformdirs.user_state_dir("batchscope")
    home = user_path(name)
    if not writes:
        return _readable(home)
    try:
        make_private(home, home / "sweeps", home / "data")
        if not os.access(home / "sweeps", os.W_OK | os.X_OK):
            raise PermissionError("not writable")
    except OSError as error:
        why = error.strerror or str(error)
        raise MachineProblem(
            f"{printable(home)}: cannot be used for sweeps and data: {why}; "
            f"choose another folder with --home or $BATCHSCOPE_HOME{_or_share(error)}"
        ) from None
    return home


def _or_share(error: OSError) -> str:
    """Return how to use a folder that others may change all the same; empty for other errors."""
    if error.errno is not None:  # the system refused, not this program
        return ""
    return f", or set {SHARED}=1 if you trust everybody who may write there"


def _readable(home: Path) -> Path:
    """Return a home, which may be missing.

    Raises:
        MachineProblem: it is there, but cannot be read.
    """
    try:
        with os.scandir(home / "sweeps") as entries:
            next(entries, None)
    except FileNotFoundError:
        return home
    except OSError as error:
        why = error.strerror or str(error)
        closed = home / "sweeps" if os.access(home, os.X_OK) and home.is_dir() else home
        raise MachineProblem(
            f"{printable(closed)}: cannot be read: {why}; "
            "choose another folder with --home or $BATCHSCOPE_HOME"
        ) from None
    return home


def create_sweep(home: Path, preset: Preset, launch: Launch) -> Path:
    """Create the folder of a new sweep; its name is the sweep's id.

    It is filled under a temporary name, so that a sweep in the list is complete.

    Raises:
        UsageProblem: a string of the preset or a path is not UTF-8, or the preset has a task and is
            to run on a cluster.
        MachineProblem: the folder cannot be written; nothing is left of it.
    """
    refuse_task(launch.on, preset.task_folder)
    try:
        written = sweep_toml(preset)
        encoded(launch)  # checked before the folder is created
    except UnicodeEncodeError:
        raise UsageProblem(
            f"{preset.name}: a string of the preset or a path is not UTF-8"
        ) from None
    stem = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", preset.name).strip("-.")[:LONGEST_SLUG]
    slug = slug.rstrip("-.") or "preset"  # Windows and SMB drop a last dot
    sweeps, number = home / "sweeps", 1
    home_folder(str(home))  # the menu has only read it until now
    check_locks(home / "data")
    if sweeps.is_symlink():  # perhaps to another disk
        check_locks(sweeps)
    try:
        with unfinished_folder(sweeps) as fresh:
            while True:
                suffix = "" if number == 1 else f".{number}"
                folder = sweeps / f"{stem}{suffix}-{slug}"
                kept = _kept_for(folder.name, launch.checkpoints)
                stored = replace(
                    launch,
                    notes=preset.notes,
                    checkpoints=kept,
                    task_folder=preset.task_folder,
                    exported=preset.exported,
                )
                _fill(fresh, {SWEEP: written, LAUNCH: encoded(stored)})
                if _moved(fresh, folder):
                    return folder
                number += 1
    except OSError as error:
        raise MachineProblem(f"{printable(sweeps)}: {printable(error.strerror or error)}") from None


def _fill(fresh: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (fresh / name).unlink(missing_ok=True)
        with open_to_write(fresh / name) as file:
            write_all(file.fileno(), content)
            os.fsync(file.fileno())


def _moved(fresh: Path, folder: Path) -> bool:
    """Move a folder to a new name; return False if there is something of that name."""
    if os.path.lexists(folder):
        return False
    try:
        fresh.rename(folder)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return False
        raise
    return True


def _kept_for(sweep: str, where: str) -> str:
    """Return the folder or URL for the checkpoints of one sweep below a shared one.

    The random part keeps sweeps apart that two machines start in the same second.
    """
    return f"{where.rstrip('/')}/{sweep}-{secrets.token_hex(4)}" if where else ""


def conductor_lives(folder: Path) -> bool:
    """Return whether a conductor or one of its workers holds the sweep's lock."""
    try:
        file = open_regular(folder / LOCK, most=None, follow=False)
    except OSError:
        return False
    with file:
        try:
            return not lock(file.fileno(), fcntl.LOCK_SH)
        except OSError:  # without locks no conductor starts
            return False


def sweep_folders(home: Path) -> list[Path]:
    """Return the folders of stored sweeps, newest first.

    A damaged sweep is one of them: what has the name of a sweep or any of its files.
    """
    try:
        with os.scandir(home / "sweeps") as entries:
            folders = [Path(entry.path) for entry in entries if _is_sweep(entry)]
    except OSError:
        return []
    return sorted(folders, key=lambda path: path.name, reverse=True)


def _is_sweep(entry: "os.DirEntry[str]") -> bool:
    if entry.name.startswith("."):
        return False
    if _NAMED.match(entry.name):
        return entry.is_symlink() or entry.is_dir()
    return any(os.path.lexists(f"{entry.path}/{name}") for name in (LAUNCH, SWEEP, journal.NAME))


def find_sweep(home: Path, name: str | None) -> Path:
    """Find a stored sweep.

    Args:
        home: the home folder.
        name: an id, or a part of one; None finds the running sweep, else the newest. A part that
            starts or ends one is preferred to one within another.

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
    near = near or [folder for folder in folders if name in folder.name]
    if len(near) == 1:
        return near[0]
    if near:
        some = ", ".join(folder.name for folder in near[:MOST_NAMED])
        more = f" and {len(near) - MOST_NAMED} more" if len(near) > MOST_NAMED else ""
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
    with open_to_write(folder / LOCK) as file:
        descriptor = os.dup(file.fileno())
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
