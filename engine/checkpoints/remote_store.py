"""Stores the checkpoints of a sweep that trains on several machines, as `--checkpoints` says.

- A folder that every node can reach: checkpoints are written as on one machine, without a store.
- A URL, opened by fsspec: each node stores its worker's checkpoints before the event about them.
- Neither: checkpoints are sent to the conductor with the events about them.

The conductor writes a mark there. A node that does not see it is rejected, because no one else
would find its checkpoints.
"""

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from batchscope.engine.checkpoints.file import HEADER_BYTES, TRIALS, WEIGHTS, Damaged, check_size
from batchscope.engine.checkpoints.mirror import Files
from batchscope.engine.errors import MachineProblem, UsageProblem, printable, similar
from batchscope.engine.system.private_folders import make_private

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

SEPARATOR = "://"
MARK = "batchscope-sweep"


class Store:
    """Keeps the files of one sweep below a URL that fsspec can open, or in a folder."""

    def __init__(self, url: str) -> None:
        import fsspec

        self._files: AbstractFileSystem
        self._files, self._root = fsspec.core.url_to_fs(url)

    def get(self, below: Iterable[str]) -> Files:
        """Read the checkpoints in these folders, except damaged ones and other than files."""
        files = Files()
        for name in below:
            folder = f"{self._root}/{name}"
            self._files.invalidate_cache()
            if not self._files.isdir(folder):
                continue
            for entry in self._files.ls(folder, detail=True):
                path = str(entry["name"])
                regular = entry["type"] == "file" and not entry.get("islink")
                if regular and not path.endswith(".part"):
                    with contextlib.suppress(Damaged):
                        content = self._checkpoint(path, entry["size"])
                        files[f"{name}/{path.rsplit('/', 1)[-1]}"] = content
        return files

    def _checkpoint(self, path: str, size: int | None) -> bytes:
        """Read a checkpoint; raise `Damaged` before that if it has not the size that it states."""
        if size is not None:  # a few stores do not know it
            check_size(self._files.cat_file(path, start=0, end=HEADER_BYTES), size)
        content: bytes = self._files.cat_file(path)
        check_size(content, len(content))
        return content

    def put(self, files: Mapping[str, bytes]) -> None:
        """Store files, each under a temporary name first: not all stores write atomically."""
        for name, content in files.items():
            path = f"{self._root}/{name}"
            self._files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            self._files.pipe_file(f"{path}.part", content)
            self._files.mv(f"{path}.part", path)

    def remove(self, below: str = "") -> None:
        """Delete a folder, or everything."""
        folder = f"{self._root}/{below}".rstrip("/")
        self._files.invalidate_cache()
        if self._files.exists(folder):
            self._files.rm(folder, recursive=True)

    def remove_ours(self) -> None:
        """Delete what this program stores of a sweep; a folder that then is empty goes, too."""
        for below in (TRIALS, WEIGHTS, MARK):
            self.remove(below)
        if self._files.exists(self._root) and not self._files.ls(self._root, detail=False):
            self._files.rmdir(self._root)

    def mark(self) -> None:
        """Write the mark by which nodes recognise the store."""
        self.put({MARK: b""})

    def is_marked(self) -> bool:
        """Return whether the mark is visible from here."""
        self._files.invalidate_cache()
        return bool(self._files.exists(f"{self._root}/{MARK}"))


def is_url(where: str) -> bool:
    """Return whether a place is a URL for fsspec, not a folder."""
    return SEPARATOR in where


def open_store(where: str) -> Store:
    """Open the store at a URL or in a folder.

    Raises:
        UsageProblem: fsspec does not support the scheme of the URL.
        MachineProblem: a library for it is missing, or it cannot be opened.
    """
    if is_url(where):
        _check_kind(where)
    try:
        return Store(where)
    except (ImportError, ValueError, OSError) as error:
        raise MachineProblem(f"--checkpoints {printable(where)}: {printable(error)}") from None


def _check_kind(where: str) -> None:
    """Raise `UsageProblem` if fsspec does not support the scheme of a URL."""
    from fsspec import available_protocols, get_filesystem_class

    for kind in where.partition(SEPARATOR)[0].split("::"):
        try:
            get_filesystem_class(kind)
        except ImportError:
            continue  # supported, but a library is missing
        except ValueError:
            problem = f"fsspec does not support {printable(kind)!r}"
            hint = similar(kind, available_protocols())
            raise UsageProblem(f"--checkpoints {printable(where)}: {problem}{hint}") from None


def check(where: str, on_cluster: bool) -> str:
    """Return the value of `--checkpoints`; a folder is created and made absolute.

    Raises:
        UsageProblem: it is given without `--on`.
        MachineProblem: the URL cannot be opened, or the folder cannot be created or is not safe.
    """
    if not where:
        return ""
    if not on_cluster:
        raise UsageProblem(
            "--checkpoints: needs --on; on one machine checkpoints are stored with the sweep"
        )
    if is_url(where):
        open_store(where)
        return where
    folder = Path(where).expanduser().absolute()
    try:
        make_private(folder)
    except OSError as error:
        raise MachineProblem(
            f"--checkpoints {printable(where)}: cannot be used: {error.strerror or error}"
        ) from None
    return str(folder)
