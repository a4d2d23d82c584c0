"""Tells the files of an export from those of a person, and keeps the latter when it is replaced.

The manifest lists each file of an export with its SHA-256. Whatever is not listed, or has changed
since, is a person's. It is linked into the new folder before that one takes the old one's place, so
that it is there at every moment, also if the program is killed.
"""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
LARGE = 1 << 30
CHANGED = ".changed"
"""What the name of a person's file gets if the new export has a file of that name."""
EARLIER = re.compile(
    r"(trials|epochs|gradient_norms|layer_norms|probes|probe_bins|memory|bias_variance"
    r"|competitions|sharpness|interpolation)\.csv|findings\.json|sweep\.toml|manifest\.json"
    r"|report\.html|journal\.jsonl|figures/[a-z_]+\.(png|svg)|weights/[^/]+\.safetensors"
    r"|tensorboard/.+/events\.out\.tfevents\.[^/]+"
)
"""The files of exports whose manifest does not list them, because an earlier version made it."""


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a new export but its manifest, by its path in there."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in found}
    return {name: _digest(path) for name, path in names.items() if name != MANIFEST}


def listed_files(manifest: Mapping[str, Any] | None) -> Mapping[str, str] | None:
    """Return the files that a manifest lists; None if it is of a version that did not list them.

    Without a manifest the folder holds no export, and nothing in it is ours.
    """
    if manifest is None:
        return {}
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(isinstance(each, str) for each in files.values()):
        return None
    return files


def carry_over(old: Path, new: Path, listed: Mapping[str, str] | None) -> list[str]:
    """Put a person's files of `old` into `new` as well, and leave what is there already.

    Links where the disk can, so that nothing is copied. May be repeated: a file that has been
    carried over is not carried again.

    Args:
        old: the folder of an earlier export, or any other.
        new: a new export.
        listed: from `listed_files`.

    Returns:
        The new names of files that could not keep theirs, because the new export has such a file.

    Raises:
        OSError: a file cannot be kept; `strerror` names it.
    """
    return sorted(str(place.relative_to(new)) for place in _carry(old, new, "", listed))


def _carry(old: Path, new: Path, inside: str, listed: Mapping[str, str] | None) -> Iterator[Path]:
    """Carry over one folder, which is at the path `inside` in the old export."""
    existed = new.is_dir()
    entries = sorted(os.scandir(old), key=lambda entry: entry.name)
    if not entries and not existed:
        new.mkdir(parents=True)
    for entry in entries:
        name = f"{inside}{entry.name}"
        try:
            if entry.is_dir(follow_symlinks=False):
                if os.path.ismount(entry.path):
                    raise OSError(errno.EBUSY, "is a mounted disk")
                places = (p for p in _places(new, entry.name) if _can_be_folder(p))
                place = next(p for p in places if p.name == entry.name or not _taken(old, p))
                yield from _carry(Path(entry.path), place, f"{name}/", listed)
            elif not _ours(Path(entry.path), name, listed):
                yield from _keep(Path(entry.path), new, entry.name)
        except FileNotFoundError:  # deleted meanwhile
            continue
        except OSError as error:
            if name in (error.strerror or ""):
                raise
            raise OSError(error.errno, f"{name}: {error.strerror or error}") from None
    if not existed and new.is_dir():
        with contextlib.suppress(OSError):  # only root can give a folder to somebody else
            shutil.copystat(old, new)
            os.chown(new, old.stat().st_uid, old.stat().st_gid)


def _ours(path: Path, name: str, listed: Mapping[str, str] | None) -> bool:
    """Return whether an export made this file, and nobody has changed it since."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or _is_sparse(status):
        return False
    if listed is None:
        return EARLIER.fullmatch(name) is not None
    if name == MANIFEST:
        return bool(listed)
    return name in listed and _digest(path) == listed[name]


def _keep(path: Path, new: Path, name: str) -> Iterator[Path]:
    """Put one file into a folder; yield its path there if its name was taken."""
    for place in _places(new, name):
        if place.name != name and _taken(path.parent, place):
            if _same(path, path.with_name(place.name)):
                return
        elif not os.path.lexists(place):
            new.mkdir(parents=True, exist_ok=True)
            _link(path, place)
            if place.name != name:
                yield place
            return
        elif _same(path, place):
            return


def _link(path: Path, place: Path) -> None:
    """Link a file or link to another place; copy it where the disk has no such links."""
    try:
        os.link(path, place, follow_symlinks=False)
    except OSError:
        if not (path.is_symlink() or path.is_file()):
            raise
        shutil.copy2(path, place, follow_symlinks=False)


def _same(one: Path, other: Path) -> bool:
    """Return whether two paths are the same file, or have the same content."""
    first, second = one.lstat(), other.lstat()
    if os.path.samestat(first, second):
        return True
    if stat.S_IFMT(first.st_mode) != stat.S_IFMT(second.st_mode):
        return False
    if stat.S_ISLNK(first.st_mode):
        return one.readlink() == other.readlink()
    if not stat.S_ISREG(first.st_mode) or first.st_size != second.st_size or _is_sparse(first):
        return False
    return _digest(one) == _digest(other)


def _places(folder: Path, name: str) -> Iterator[Path]:
    """Yield the place of a name in a folder, then those of its variants."""
    yield folder / name
    yield folder / f"{name}{CHANGED}"
    yield from (folder / f"{name}{CHANGED}-{number}" for number in count(2))


def _taken(old: Path, place: Path) -> bool:
    """Return whether the old folder has something of its own for the name of a place."""
    return os.path.lexists(old / place.name)


def _can_be_folder(place: Path) -> bool:
    return not os.path.lexists(place) or (place.is_dir() and not place.is_symlink())


def _is_sparse(status: os.stat_result) -> bool:
    """Return whether most of a large file is a hole: no export has one, and it may have no end."""
    return status.st_size > LARGE and status.st_blocks * 512 < status.st_size // 2


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
