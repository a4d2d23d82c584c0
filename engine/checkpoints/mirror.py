"""Keeps a sweep's files on two machines: a node's copy of what its worker reads and writes.

A worker writes a checkpoint before it sends the event about it. So whoever reads the event finds
the checkpoint, and files that are sent with an event are stored before the event is.
"""

import contextlib
import fcntl
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from batchscope.engine.checkpoints.file import CURRENT, TRIALS, WEIGHTS, Damaged, read_whole
from batchscope.engine.checkpoints.kept_weights import SUFFIX
from batchscope.engine.system.files import (
    create,
    make_folder,
    remove,
    remove_quietly,
    sync,
    sync_file,
)
from batchscope.engine.system.private_folders import OTHERS, make_private
from batchscope.engine.system.untrusted_files import open_regular

Files = dict[str, bytes]
"""Contents by POSIX path below the folder of the sweep."""

SCRATCH, DATA, WORK, LOCK = "batchscope", "data", "work", "lock"
PREFIX = "worker-"
LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
"""Not through a link, and not waiting for the reader of a pipe."""
Seen = tuple[int, int, int]


def carried(folder: Path, below: Iterable[str]) -> Files:
    """Read the files that a worker needs in these folders: complete ones, no previous copies.

    A file that is damaged or not a regular one is left out.
    """
    files = Files()
    for path in sorted(_present(folder, below)):
        with contextlib.suppress(Damaged, OSError):
            files[path] = read_whole(folder / path)
    return files


def divided(files: Files) -> tuple[Files, Files]:
    """Divide files into those that belong into the sweep's folder, and those for a store.

    Weights that are kept for others to load are part of the result, as the journal is.
    """
    result = {name: content for name, content in files.items() if name.endswith(SUFFIX)}
    return result, {name: content for name, content in files.items() if name not in result}


def _present(folder: Path, below: Iterable[str], kept: bool = False) -> dict[str, Seen]:
    """Return the complete files in these folders, with what changes when they are written again.

    Args:
        folder: the sweep's folder, or its copy.
        below: the folders.
        kept: whether to include weights that are kept for others; no worker reads those.
    """
    present = {}
    kinds = ["*.pt", f"*{SUFFIX}"] if kept else ["*.pt"]
    for name in below:
        for path in (each for kind in kinds for each in (folder / name).glob(kind)):
            if path.parent.parent.name == TRIALS and path.name != CURRENT:
                continue
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                if not stat.S_ISREG(status.st_mode):
                    continue
                key = path.relative_to(folder).as_posix()
                present[key] = (status.st_ino, status.st_mtime_ns, status.st_size)
    return present


def put(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write received files, each atomically.

    Raises:
        ValueError: a path is not below trials or weights.
        OSError: a file cannot be written.
    """
    for name, content in files.items():
        path = PurePosixPath(name)
        if path.parts[:1] not in ((TRIALS,), (WEIGHTS,)) or ".." in path.parts:
            raise ValueError(f"{name!r} is not a file of a sweep's trials")
        target = folder / path
        make_folder(target.parent)
        fresh = target.with_name(f"{target.name}.{secrets.token_hex(4)}.tmp")
        try:
            with create(fresh) as file:
                file.write(content)
                sync_file(file)
            if target.is_dir():  # a file cannot take its place
                remove(target)
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)
        sync(target.parent)


class Mirror:
    """A folder of this node that replaces the sweep's folder for one worker.

    It is locked as long as its process runs; folders without a process are removed.
    """

    def __init__(self, scratch: Path | None = None) -> None:
        self.scratch = scratch or Path(tempfile.gettempdir()) / f"{SCRATCH}-{os.getuid()}"
        _make_ours(self.scratch)
        make_private(self.scratch, self.scratch / DATA, self.scratch / WORK)
        with _locked(self.scratch / LOCK):  # so that no new folder is removed before it is locked
            _clear_stale(self.scratch / WORK)
            self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self.scratch / WORK))
            self._lock = os.open(self.folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._below: tuple[str, ...] = ()
        self._seen: dict[str, Seen] = {}

    def begin(self, below: Iterable[str], files: Mapping[str, bytes]) -> None:
        """Start watching these folders, with exactly these files in them."""
        self._below = tuple(below)
        for name in (TRIALS, WEIGHTS):  # the previous trial's files are stored elsewhere
            remove_quietly(self.folder / name)
        put(self.folder, files)
        self._seen = _present(self.folder, self._below, kept=True)

    def changed(self) -> Files:
        """Return the files that are new or changed since the last call."""
        now = _present(self.folder, self._below, kept=True)
        new = [name for name, stat in now.items() if self._seen.get(name) != stat]
        files = Files()
        for name in new:
            with contextlib.suppress(FileNotFoundError):
                files[name] = _content(self.folder / name)
                self._seen[name] = now[name]
        return files

    def close(self) -> None:
        """Remove the folder and release its lock."""
        remove_quietly(self.folder)
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = os.open(path, LOCK_FLAGS, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _clear_stale(work: Path) -> None:
    for folder in work.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            lock = os.open(folder / LOCK, LOCK_FLAGS & ~os.O_CREAT)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_quietly(folder)
            finally:
                os.close(lock)


def _make_ours(folder: Path) -> None:
    """Create the private folder in a folder that all users share, such as /tmp.

    Raises:
        PermissionError: it exists and is a link, another user's, or readable by others.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=stat.S_IRWXU)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise PermissionError(f"{folder}: is not a folder of this user")
    if status.st_mode & OTHERS:
        raise PermissionError(f"{folder}: other users can read it; run chmod 700 on it")


class DataShelf:
    """The data sets of a node by the hash of their content; each is written once.

    Args:
        scratch: the folder for the files of all workers of the node.
        holds: returns whether a folder holds the arrays with that SHA-256, complete and unchanged.
            It is asked once for each.
    """

    def __init__(self, scratch: Path, holds: Callable[[Path, str], bool]) -> None:
        self._folder, self._holds = scratch / DATA, holds
        self._checked = set[str]()

    def path_of(self, digest: str) -> Path:
        """Return the folder of the arrays with that SHA-256; it may not exist."""
        return self._folder / digest

    def has(self, digest: str) -> bool:
        """Return whether the arrays with that SHA-256 are here, complete and unchanged."""
        if digest not in self._checked and self._holds(self.path_of(digest), digest):
            self._checked.add(digest)
        return digest in self._checked

    def put(self, digest: str, files: Mapping[str, bytes]) -> None:
        """Write arrays, unless another worker has written them already; replace damaged ones."""
        with _locked(self._folder / LOCK):
            if self.has(digest):
                return
            fresh = Path(tempfile.mkdtemp(dir=self._folder))
            for name, content in files.items():
                (fresh / Path(name).name).write_bytes(content)
            remove(self.path_of(digest))
            fresh.rename(self.path_of(digest))


def data_files(folder: Path) -> Files:
    """Read the files of a prepared data set."""
    return {path.name: _content(path) for path in sorted(folder.iterdir()) if path.is_file()}


def _content(path: Path) -> bytes:
    with open_regular(path, None, follow=False) as file:
        return file.read()
