"""Mounts a folder that behaves as a network file system does, with Linux's FUSE and no library.

    python network_server.py SOURCE TARGET RULE...

It shows SOURCE at TARGET, with the rules of `network_rules.py` that are named: so programs meet the
kernel's own errors, in every process and every system call. It needs root and `/dev/fuse`.
"""

import contextlib
import ctypes
import errno
import itertools
import os
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path

HEADER, ANSWER = struct.Struct("<IIQQIIII"), struct.Struct("<IiQ")
ATTRIBUTES = struct.Struct("<6Q10I")
ROOT, MOST = 1, 1 << 17
POSIX_LOCKS, BIG_WRITES, FLOCK_LOCKS, DIRECT_IO = 1 << 1, 1 << 5, 1 << 10, 1
MS_NOSUID, MS_NODEV = 2, 4
MODE, UID, GID, SIZE, ATIME, MTIME, NOW_A, NOW_M = 1, 2, 4, 8, 16, 32, 128, 256


class Refused(OSError):
    """An operation that a rule forbids."""


class Server:
    """Answers the kernel's requests about the folder `source`, with some rules broken."""

    def __init__(self, source: str, device: int, rules: frozenset[str]) -> None:
        self._device, self._rules = device, rules
        self._paths, self._numbers = {ROOT: source}, itertools.count(ROOT + 1)
        self._files: dict[int, tuple[int, str]] = {}
        self._lists: dict[int, list[str]] = {}
        self._handles = itertools.count(1)
        self._locks: dict[str, dict[int, int]] = {}
        self._waiting: list[tuple[int, str, int, int]] = []
        self._silly: dict[str, str] = {}
        self._count = itertools.count(1)

    def serve(self) -> None:
        """Answer until the folder is unmounted."""
        while True:
            try:
                request = os.read(self._device, MOST + 4096)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    continue
                return
            _, code, unique, node, uid, gid, pid, _ = HEADER.unpack_from(request)
            body, action = request[HEADER.size :], ACTIONS.get(code)
            try:
                if action is None:
                    raise Refused(errno.ENOSYS, "")
                answer = action(self, node, body, (uid, gid, pid, unique))
            except OSError as error:
                self._answer(unique, b"", error.errno or errno.EIO)
            else:
                if answer is not None:
                    self._answer(unique, answer)

    def _answer(self, unique: int, content: bytes, error: int = 0) -> None:
        with contextlib.suppress(OSError):
            head = ANSWER.pack(ANSWER.size + len(content), -error, unique)
            os.write(self._device, head + content)

    # ---- names

    def _below(self, node: int, raw: bytes) -> str:
        """Return the path of a name in a folder."""
        folder, name = self._paths[node], os.fsdecode(raw.split(b"\0", 1)[0])
        if "plain names" in self._rules and (":" in name or name[-1:] in (".", " ")):
            raise Refused(errno.EINVAL, "")
        path = f"{folder}/{name}"
        if "no case" in self._rules and not os.path.lexists(path):
            for other in Path(folder).iterdir():
                if other.name.casefold() == name.casefold():
                    return str(other)
        return path

    def _node(self, path: str) -> int:
        for number, known in self._paths.items():
            if known == path:
                return number
        number = next(self._numbers)
        self._paths[number] = path
        return number

    def _attributes(self, status: os.stat_result) -> bytes:
        mode, unit = status.st_mode, 2 * 10**9
        if not stat.S_ISLNK(mode) and {"no chmod", "ignored chmod"} & self._rules:
            mode = stat.S_IFMT(mode) | (0o777 if "no chmod" in self._rules else 0o755)
        moments = [status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns]
        if "coarse times" in self._rules:
            moments = [each // unit * unit for each in moments]
        number = next(self._count) if "new numbers" in self._rules else status.st_ino
        return ATTRIBUTES.pack(
            *(number, status.st_size, status.st_blocks),
            *(each // 10**9 for each in moments),
            *(each % 10**9 for each in moments),
            *(mode, status.st_nlink, status.st_uid, status.st_gid, status.st_rdev, 4096, 0),
        )

    def _entry(self, path: str) -> bytes:
        attributes = self._attributes(os.lstat(path))
        return struct.pack("<4Q2I", self._node(path), 0, 0, 0, 0, 0) + attributes

    def look_up(self, node: int, body: bytes, _: tuple[int, ...]) -> bytes:
        return self._entry(self._below(node, body))

    def attributes(self, node: int, _: bytes, __: tuple[int, ...]) -> bytes:
        path = self._paths[node]
        try:
            status = os.lstat(path)
        except FileNotFoundError:  # open, but without a name
            status = os.fstat(next(fd for fd, name in self._files.values() if name == path))
        return struct.pack("<QII", 0, 0, 0) + self._attributes(status)

    def change(self, node: int, body: bytes, who: tuple[int, ...]) -> bytes:
        valid, _, handle, size, _, at, mt, _, atn, mtn, _, mode, _, uid, gid, _ = struct.unpack(
            "<IIQQQQQQIIIIIIII", body[:88]
        )
        path = self._paths[node]
        if valid & MODE and "no chmod" in self._rules:
            raise Refused(errno.EPERM, "")
        if valid & MODE and "ignored chmod" not in self._rules:
            Path(path).chmod(mode & 0o7777)
        if valid & (UID | GID):
            os.chown(path, uid if valid & UID else -1, gid if valid & GID else -1)
        if valid & SIZE:
            descriptor = self._files[handle][0] if handle in self._files else path
            os.truncate(descriptor, size)
        if valid & (ATIME | MTIME | NOW_A | NOW_M):
            if valid & (NOW_A | NOW_M):
                os.utime(path)
            else:
                os.utime(path, ns=(at * 10**9 + atn, mt * 10**9 + mtn))
        return self.attributes(node, body, who)

    def _created(self, path: str, who: tuple[int, ...]) -> bytes:
        os.chown(path, who[0], who[1], follow_symlinks=False)
        return self._entry(path)

    def make_folder(self, node: int, body: bytes, who: tuple[int, ...]) -> bytes:
        mode, umask = struct.unpack_from("<II", body)
        path = self._below(node, body[8:])
        Path(path).mkdir()
        Path(path).chmod(mode & ~umask & 0o7777)
        return self._created(path, who)

    def make_node(self, node: int, body: bytes, who: tuple[int, ...]) -> bytes:
        mode, device, umask, _ = struct.unpack_from("<IIII", body)
        path = self._below(node, body[16:])
        os.mknod(path, mode & ~umask, device)
        return self._created(path, who)

    def make_link(self, node: int, body: bytes, who: tuple[int, ...]) -> bytes:
        if "no links" in self._rules:
            raise Refused(errno.EPERM, "")
        name, target = body.split(b"\0")[:2]
        path = self._below(node, name)
        Path(path).symlink_to(os.fsdecode(target))
        return self._created(path, who)

    def make_hard_link(self, node: int, body: bytes, _: tuple[int, ...]) -> bytes:
        if "no links" in self._rules:
            raise Refused(errno.EPERM, "")
        path = self._below(node, body[8:])
        os.link(self._paths[struct.unpack_from("<Q", body)[0]], path, follow_symlinks=False)
        return self._entry(path)

    def read_link(self, node: int, _: bytes, __: tuple[int, ...]) -> bytes:
        return os.fsencode(Path(self._paths[node]).readlink())

    def _opened(self, path: str) -> bool:
        """Return whether a file, or one below a folder, is open."""
        return any(f"{name}/".startswith(f"{path}/") for _, name in self._files.values())

    def unlink(self, node: int, body: bytes, _: tuple[int, ...]) -> bytes:
        path = self._below(node, body)
        if self._opened(path) and "silly names" in self._rules:
            kept = f"{Path(path).parent}/.nfs{next(self._count):08x}"
            self._move(path, kept)
            self._silly[kept] = path
        elif self._opened(path) and "open names stay" in self._rules:
            raise Refused(errno.ETXTBSY, "")
        else:
            Path(path).unlink()
        return b""

    def remove_folder(self, node: int, body: bytes, _: tuple[int, ...]) -> bytes:
        Path(self._below(node, body)).rmdir()
        return b""

    def rename(self, node: int, body: bytes, who: tuple[int, ...]) -> bytes:
        return self._rename(node, struct.unpack_from("<Q", body)[0], 0, body[8:])

    def rename_with_flags(self, node: int, body: bytes, _: tuple[int, ...]) -> bytes:
        folder, flags, _unused = struct.unpack_from("<QII", body)
        return self._rename(node, folder, flags, body[16:])

    def _rename(self, node: int, folder: int, flags: int, names: bytes) -> bytes:
        old, new = names.split(b"\0")[:2]
        one, other = self._below(node, old), self._below(folder, new)
        if flags:  # what these rules are for never has them
            raise Refused(errno.EINVAL, "")
        if "open names stay" in self._rules and (self._opened(one) or self._opened(other)):
            raise Refused(errno.EACCES, "")
        self._move(one, other)
        return b""

    def _move(self, one: str, other: str) -> None:
        Path(one).rename(other)
        for number, path in list(self._paths.items()):
            if path == other:
                self._paths[number] = f"{other}/."  # replaced
        moved = [*self._paths.items()]
        for number, path in moved:
            if f"{path}/".startswith(f"{one}/"):
                self._paths[number] = other + path[len(one) :]
        for handle, (descriptor, path) in list(self._files.items()):
            if f"{path}/".startswith(f"{one}/"):
                self._files[handle] = (descriptor, other + path[len(one) :])

    # ---- content

    def _open(self, path: str, flags: int) -> bytes:
        flags &= ~(os.O_NOFOLLOW | os.O_EXCL | os.O_CREAT | os.O_APPEND | os.O_DIRECT)
        if flags & os.O_ACCMODE == os.O_WRONLY:
            flags = flags & ~os.O_ACCMODE | os.O_RDWR
        handle = next(self._handles)
        self._files[handle] = (os.open(path, flags | os.O_CLOEXEC), path)
        direct = DIRECT_IO if "no shared maps" in self._rules else 0
        return struct.pack("<QII", handle, direct, 0)

    def open(self, node: int, body: bytes, _: tuple[int, ...]) -> bytes:
        return self._open(self._paths[node], struct.unpack_from("<I", body)[0])

    def create(self, node: int, body: bytes, who: tuple[int, ...]) -> bytes:
        flags, mode, umask, _ = struct.unpack_from("<IIII", body)
        path = self._below(node, body[16:])
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
        Path(path).chmod(mode & ~umask & 0o7777)
        return self._created(path, who) + self._open(path, flags)

    def read(self, _: int, body: bytes, who: tuple[int, ...]) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", body)
        descriptor, path = self._files[handle]
        held = self._locks.get(path, {})
        if "SMB locks" in self._rules and held and handle not in held:
            raise Refused(errno.EACCES, "")
        return os.pread(descriptor, size, offset)

    def write(self, _: int, body: bytes, __: tuple[int, ...]) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", body)
        return struct.pack(
            "<II", os.pwrite(self._files[handle][0], body[40 : 40 + size], offset), 0
        )

    def close(self, _: int, body: bytes, __: tuple[int, ...]) -> bytes:
        handle = struct.unpack_from("<Q", body)[0]
        descriptor, path = self._files.pop(handle)
        os.close(descriptor)
        for key in [key for key in self._locks.get(path, {}) if key == handle]:
            self._unlock(path, key)
        if path in self._silly and not self._opened(path):
            del self._silly[path]
            with contextlib.suppress(FileNotFoundError):
                Path(path).unlink()
        return b""

    def flush(self, _: int, body: bytes, who: tuple[int, ...]) -> bytes:
        if "locks of processes" in self._rules:  # such a lock ends when its process closes the file
            self._unlock(self._files[struct.unpack_from("<Q", body)[0]][1], who[2])
        return b""

    def sync(self, _: int, body: bytes, __: tuple[int, ...]) -> bytes:
        os.fsync(self._files[struct.unpack_from("<Q", body)[0]][0])
        return b""

    def sync_folder(self, _: int, __: bytes, ___: tuple[int, ...]) -> bytes:
        if "no folder sync" in self._rules:
            raise Refused(errno.EINVAL, "")
        return b""

    def open_folder(self, node: int, _: bytes, __: tuple[int, ...]) -> bytes:
        handle = next(self._handles)
        self._lists[handle] = self._listed(node)
        return struct.pack("<QII", handle, 0, 0)

    def read_folder(self, node: int, body: bytes, _: tuple[int, ...]) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", body)
        if offset == 0:
            self._lists[handle] = self._listed(node)
        listed = b""
        for number, name in enumerate(self._lists[handle][offset:], offset + 1):
            raw = os.fsencode(name)
            entry = struct.pack("<QQII", 1, number, len(raw), 0) + raw
            entry += bytes(-len(entry) % 8)
            if len(listed) + len(entry) > size:
                break
            listed += entry
        return listed

    def _listed(self, node: int) -> list[str]:
        return [".", "..", *(path.name for path in Path(self._paths[node]).iterdir())]

    def close_folder(self, _: int, body: bytes, __: tuple[int, ...]) -> bytes:
        self._lists.pop(struct.unpack_from("<Q", body)[0], None)
        return b""

    def room(self, node: int, _: bytes, __: tuple[int, ...]) -> bytes:
        of = os.statvfs(self._paths[ROOT])
        sizes = (of.f_blocks, of.f_bfree, of.f_bavail, of.f_files, of.f_ffree)
        return struct.pack("<5Q10I", *sizes, of.f_bsize, of.f_namemax, of.f_frsize, *[0] * 7)

    # ---- locks

    def lock(self, _: int, body: bytes, who: tuple[int, ...]) -> bytes | None:
        return self._lock(body, who, waits=False)

    def lock_and_wait(self, _: int, body: bytes, who: tuple[int, ...]) -> bytes | None:
        return self._lock(body, who, waits=True)

    def _lock(self, body: bytes, who: tuple[int, ...], waits: bool) -> bytes | None:
        handle, _, _, _, kind, _ = struct.unpack_from("<QQQQII", body)
        path = self._files[handle][1]
        key = who[2] if "locks of processes" in self._rules else handle
        if "no locks" in self._rules:
            raise Refused(errno.ENOLCK, "")
        if "no such locks" in self._rules:
            raise Refused(errno.EOPNOTSUPP, "")
        if kind == 2:  # F_UNLCK
            self._unlock(path, key)
        elif self._free(path, key, kind):
            self._locks.setdefault(path, {})[key] = kind
        elif waits:
            self._waiting.append((who[3], path, key, kind))
            return None
        else:
            raise Refused(errno.EACCES if "SMB locks" in self._rules else errno.EAGAIN, "")
        return b""

    def _free(self, path: str, key: int, kind: int) -> bool:
        others = [held for who, held in self._locks.get(path, {}).items() if who != key]
        return not others or (kind == 0 and all(held == 0 for held in others))  # F_RDLCK is 0

    def _unlock(self, path: str, key: int) -> None:
        self._locks.get(path, {}).pop(key, None)
        for waiting in list(self._waiting):
            unique, wanted, other, kind = waiting
            if wanted == path and self._free(path, other, kind):
                self._waiting.remove(waiting)
                self._locks.setdefault(path, {})[other] = kind
                self._answer(unique, b"")

    def begin(self, _: int, body: bytes, __: tuple[int, ...]) -> bytes:
        ahead = struct.unpack_from("<III", body)[2]
        flags = BIG_WRITES | FLOCK_LOCKS
        return struct.pack(
            "<IIIIHHIIHHI7I", 7, 31, ahead, flags, 16, 12, MOST, 1, 32, 0, 0, *[0] * 7
        )

    def nothing(self, _: int, __: bytes, ___: tuple[int, ...]) -> None:
        return None


Action = Callable[[Server, int, bytes, tuple[int, ...]], bytes | None]
ACTIONS: dict[int, Action] = {
    **{1: Server.look_up, 2: Server.nothing, 3: Server.attributes, 4: Server.change},
    **{5: Server.read_link, 6: Server.make_link, 8: Server.make_node, 9: Server.make_folder},
    **{10: Server.unlink, 11: Server.remove_folder, 12: Server.rename, 13: Server.make_hard_link},
    **{14: Server.open, 15: Server.read, 16: Server.write, 17: Server.room, 18: Server.close},
    **{20: Server.sync, 25: Server.flush, 26: Server.begin, 27: Server.open_folder},
    **{28: Server.read_folder, 29: Server.close_folder, 30: Server.sync_folder},
    **{32: Server.lock, 33: Server.lock_and_wait, 35: Server.create, 36: Server.nothing},
    **{42: Server.nothing, 45: Server.rename_with_flags},
}
"""By the kernel's numbers (linux/fuse.h); others are answered with ENOSYS."""


def main(source: str, target: str, *rules: str) -> int:
    """Mount the folder and serve it; return 1 if it cannot be mounted."""
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError:
        return 1
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    mount = ctypes.CDLL(None, use_errno=True).mount
    words = (b"network", os.fsencode(target), b"fuse.network", MS_NOSUID | MS_NODEV)
    if mount(*words, options.encode()):
        return 1
    print("mounted", flush=True)
    Server(source, device, frozenset(rules)).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
