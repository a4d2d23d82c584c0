"""Which folders a person lets batchscope run code from: `trust.json` in the home.

A preset with `[task]` runs somebody's code. Trust is for a folder, with everything in it and what
is changed there later by its owner. It is bound to the folder's real path and its owner: a folder
that became a link, that belongs to somebody else now, or that others may write to is asked about
again. Nothing is imported from a folder without it, by any way in: the conductor checks it, and so
does whatever starts one.
"""

import os
from pathlib import Path

import msgspec

from batchscope.engine.errors import MachineProblem, UsageProblem, printable
from batchscope.engine.sweeps.sweep_file import write_all
from batchscope.engine.system.private_folders import check_unshared
from batchscope.engine.system.untrusted_files import decode_json, open_to_write, read_bytes

NAME = "trust.json"


class NotTrusted(UsageProblem):
    """Code of a folder would be run that nobody has trusted; `folder` is its real path."""

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(f"{printable(folder)}: {why}")
        self.folder = folder


class TrustedFolder(msgspec.Struct, frozen=True):
    """A folder that code may be run from: its real path, and the number of its owner."""

    path: str
    owner: int


class _TrustFile(msgspec.Struct, frozen=True):
    folders: tuple[TrustedFolder, ...] = ()


def trusted_folders(home: Path) -> tuple[TrustedFolder, ...]:
    """Return the trusted folders of a home; none if the file is missing or damaged."""
    try:
        return decode_json(read_bytes(home / NAME, follow=False), _TrustFile).folders
    except (OSError, msgspec.MsgspecError):
        return ()


def check_trusted(home: Path, folder: Path) -> None:
    """Check that code may be run from a folder.

    Raises:
        NotTrusted: it may not; the message says why, and how to allow it.
    """
    real = Path(os.path.realpath(folder))
    owner = _owner(real)
    known = {each.path: each.owner for each in trusted_folders(home)}
    if str(real) not in known:
        raise NotTrusted(
            real,
            "this preset runs code from this folder; if you trust it, run "
            f"`batchscope trust {printable(real)}` once, or add --trust {printable(real)}",
        )
    if known[str(real)] != owner:
        raise NotTrusted(real, "has another owner than when it was trusted; trust it again")


def trust(home: Path, folder: Path) -> Path:
    """Trust a folder, and return its real path.

    Raises:
        NotTrusted: others may write to it.
        MachineProblem: the file cannot be written.
    """
    real = Path(os.path.realpath(folder))
    new = TrustedFolder(str(real), _owner(real))
    kept = tuple(each for each in trusted_folders(home) if each.path != new.path)
    _write(home, (*kept, new))
    return real


def revoke(home: Path, folder: Path) -> None:
    """Trust a folder no longer.

    Raises:
        UsageProblem: it is not trusted.
        MachineProblem: the file cannot be written.
    """
    gone = {str(folder), os.path.realpath(folder)}
    known = trusted_folders(home)
    left = tuple(each for each in known if each.path not in gone)
    if len(left) == len(known):
        raise UsageProblem(f"{printable(folder)}: is not trusted")
    _write(home, left)


def _owner(real: Path) -> int:
    """Return the owner of a folder that no one else may write to."""
    try:
        check_unshared(real)
        if not real.is_dir():
            raise NotTrusted(real, "there is no such folder")
        return real.stat().st_uid
    except OSError as error:
        why = error.strerror or str(error)
        raise NotTrusted(real, f"no code is run from there, because {why}") from None


def _write(home: Path, folders: tuple[TrustedFolder, ...]) -> None:
    fresh = home / f".{NAME}.new"
    try:
        with open_to_write(fresh) as file:
            file.truncate()
            write_all(file.fileno(), msgspec.json.encode(_TrustFile(folders)))
            os.fsync(file.fileno())
        fresh.replace(home / NAME)
    except OSError as error:
        why = error.strerror or str(error)
        raise MachineProblem(f"{printable(home / NAME)}: cannot be written: {why}") from None
