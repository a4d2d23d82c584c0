"""Reads a container's limits on memory and CPU: those of Linux control groups, version 1 or 2."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

NO_LIMIT = 1 << 60
"""Limits above this mean no limit: version 1 then writes about 2**63."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The memory limit of a group.

    Attributes:
        total: the limit in bytes.
        used: bytes in use, without file pages that the kernel can free; None if unknown.
        source: the file that has the limit.
    """

    total: int
    used: int | None
    source: str

    @property
    def available(self) -> int | None:
        """Return the bytes that the group may still allocate."""
        return None if self.used is None else max(0, self.total - self.used)


@dataclass(frozen=True, slots=True)
class _Version:
    """The file names of one version of control groups."""

    limit: str
    usage: str
    inactive: str


_V1 = _Version("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = _Version("memory.max", "memory.current", "inactive_file")


def memory_limits(root: Path = Path("/")) -> list[Limit]:
    """Return the limits of this process's group and of all groups around it, smallest first.

    Empty without control groups or limits. Never raises, even for malformed files.

    Args:
        root: the folder with `proc` and `sys`.
    """
    limits: dict[str, Limit] = {}
    for version, folder in _groups(root, "memory"):
        total = _number(_text(folder / version.limit))
        if total is None or total >= NO_LIMIT:
            continue
        source = "/" + str((folder / version.limit).relative_to(root))
        limits[source] = Limit(total, _used(version, folder), source)
    return sorted(limits.values(), key=lambda limit: limit.total)


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return the smallest CPU quota of this process's groups, in cores; None without a quota.

    Never raises, even for malformed files.

    Args:
        root: the folder with `proc` and `sys`.
    """
    quotas = [_quota(version, folder) for version, folder in _groups(root, "cpu")]
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota(version: _Version, folder: Path) -> float | None:
    if version is _V2:
        quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
    else:
        quota = _text(folder / "cpu.cfs_quota_us")
        period = _text(folder / "cpu.cfs_period_us")
    time, every = _number(quota), _number(period)
    return time / every if time and every else None


def _used(version: _Version, folder: Path) -> int | None:
    usage = _number(_text(folder / version.usage))
    if usage is None:
        return None
    stated = dict(line.split(" ", 1) for line in _lines(folder / "memory.stat") if " " in line)
    return max(0, usage - (_number(stated.get(version.inactive, "")) or 0))


def _groups(root: Path, controller: str) -> Iterator[tuple[_Version, Path]]:
    """Yield the mounted folders of this process's groups and of the groups around them."""
    mounts = _mounts(root, controller)
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        version = _V2 if (number, controllers) == ("0", "") else _V1
        if version is _V1 and controller not in controllers.split(","):
            continue
        for kind, top, where in mounts:
            if kind is version:
                yield from ((version, folder) for folder in _upwards(where, top, path))


def _upwards(where: Path, top: str, path: str) -> Iterator[Path]:
    """Yield the group's folder and its parents up to the mount point `where` of group `top`.

    In a container the mount point may be the group itself, while `path` is its path on the host.
    """
    inside = PurePosixPath(path)
    below = inside.relative_to(top).parts if inside.is_relative_to(top) else ()
    if ".." in below:
        below = ()
    for depth in range(len(below), -1, -1):
        yield where.joinpath(*below[:depth])


def _mounts(root: Path, controller: str) -> list[tuple[_Version, str, Path]]:
    """Return the mounts of a controller's groups: version, the group at the top, the folder."""
    mounts = []
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        if kind[0] == "cgroup" and controller not in kind[2].split(","):
            continue
        version = _V2 if kind[0] == "cgroup2" else _V1
        where = root / _unescaped(fields[4]).lstrip("/")
        mounts.append((version, _unescaped(fields[3]), where))
    return mounts


def _unescaped(path: str) -> str:
    """Decode a path in which the kernel wrote spaces and the like as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def _lines(path: Path) -> list[str]:
    return _text(path).split("\n")


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "surrogateescape")
    except (OSError, ValueError):
        return ""


def _number(text: str) -> int | None:
    """Parse a whole number; return None for `max` and for anything else."""
    return int(text) if re.fullmatch(r"\s*[0-9]{1,20}\s*", text) else None
