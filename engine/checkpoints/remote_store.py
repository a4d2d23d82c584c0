"""Where the checkpoints of a sweep go that trains on many machines, as `--checkpoints` names it.

Into a folder that every node has, they are written as on one machine, and no store is needed. A URL
is opened by fsspec, and each node sends there what its worker wrote before anybody hears of it.
Without either they travel to the conductor with the statements that they stand for.

The conductor leaves a mark there, and a node that does not see it is refused: what it wrote would
be found by nobody.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from batchscope.engine.checkpoints.mirror import Files
from batchscope.engine.errors import MachineProblem, UsageProblem, printable, similar

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
        """The files in those folders."""
        files = Files()
        for name in below:
            folder = f"{self._root}/{name}"
            self._files.invalidate_cache()
            if self._files.isdir(folder):
                for path in self._files.ls(folder, detail=False):
                    if not path.endswith(".part"):
                        files[f"{name}/{path.rsplit('/', 1)[-1]}"] = self._files.cat_file(path)
        return files

    def put(self, files: Mapping[str, bytes]) -> None:
        """Keep files, each whole: written beside, then named, for not all write one at once."""
        for name, content in files.items():
            path = f"{self._root}/{name}"
            self._files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            self._files.pipe_file(f"{path}.part", content)
            self._files.mv(f"{path}.part", path)

    def remove(self, below: str = "") -> None:
        """Delete a folder, or all that there is."""
        folder = f"{self._root}/{below}".rstrip("/")
        self._files.invalidate_cache()
        if self._files.exists(folder):
            self._files.rm(folder, recursive=True)

    def mark(self) -> None:
        """Leave a sign that this is the place."""
        self.put({MARK: b""})

    def is_marked(self) -> bool:
        """Whether the sign is seen from here."""
        self._files.invalidate_cache()
        return bool(self._files.exists(f"{self._root}/{MARK}"))


def is_url(where: str) -> bool:
    """Whether it is for fsspec to open."""
    return SEPARATOR in where


def open_store(where: str) -> Store:
    """The store at a URL or in a folder.

    Raises:
        UsageProblem: fsspec knows no such kind of place.
        MachineProblem: it lacks a library for it, or cannot reach it.
    """
    if is_url(where):
        _check_kind(where)
    try:
        return Store(where)
    except (ImportError, ValueError, OSError) as error:
        raise MachineProblem(f"--checkpoints {printable(where)}: {printable(error)}") from None


def _check_kind(where: str) -> None:
    """Refuse a URL whose scheme nothing stands for."""
    from fsspec import available_protocols, get_filesystem_class

    for kind in where.partition(SEPARATOR)[0].split("::"):
        try:
            get_filesystem_class(kind)
        except ImportError:
            continue  # known, but for a library
        except ValueError:
            problem = f"fsspec knows nothing that is called {printable(kind)!r}"
            hint = similar(kind, available_protocols())
            raise UsageProblem(f"--checkpoints {printable(where)}: {problem}{hint}") from None


def check(where: str, on_cluster: bool) -> str:
    """What `--checkpoints` says, a folder made absolute.

    Raises:
        UsageProblem: it makes no sense without a cluster.
        MachineProblem: the URL cannot be opened, or the folder not be made.
    """
    if not where:
        return ""
    if not on_cluster:
        raise UsageProblem("--checkpoints: goes with --on; on one machine they lie with the sweep")
    if is_url(where):
        open_store(where)
        return where
    folder = Path(where).expanduser().absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise MachineProblem(
            f"--checkpoints {printable(where)}: {error.strerror or error}"
        ) from None
    return str(folder)
