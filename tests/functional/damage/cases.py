"""The ways in which a file is damaged; each case can be repeated from its name."""

import errno
import os
import random
import re
import shutil
import stat
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

DEPTHS = (100, 700, 5_000, 200_000)
LONG = 100 << 20
HUGE = 1 << 40
OUTSIDE = "outside"
"""The folder beside the home that nothing may change."""


@dataclass(frozen=True)
class Case:
    """One damage.

    Attributes:
        file: the file or folder, as `short` writes it.
        kind: one of `KINDS`, or "flip AT XOR" or "cut AT" for a place that is given.
        seed: determines what the kind leaves open.
    """

    file: str
    kind: str
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.seed}:{self.file}"

    def apply(self, root: Path) -> None:
        """Damage the file below a root."""
        path, chance = found(root, self.file), random.Random(f"{self.seed} {self.file}")
        word, *numbers = self.kind.split()
        if numbers:
            path.write_bytes(changed(path.read_bytes(), word, *map(int, numbers)))
        else:
            KINDS[word](path, chance, root)


def short(root: Path, path: Path) -> str:
    """Return a path below a root, without the date in the name of a sweep's folder."""
    return re.sub(r"(?<=^home/sweeps/)[0-9-]+-", "", str(path.relative_to(root)))


def found(root: Path, file: str) -> Path:
    """Return the path of a file as `short` writes it."""
    parts = file.split("/")
    if parts[:2] == ["home", "sweeps"]:
        parts[2] = next((root / "home" / "sweeps").glob(f"*-{parts[2]}")).name
    return root.joinpath(*parts)


def parse(text: str) -> Case:
    """Return the case of that name."""
    kind, seed, file = text.split(":", 2)
    return Case(file, kind, int(seed))


def changed(content: bytes, word: str, at: int, by: int = 0) -> bytes:
    """Return a content that is cut at a place, or has one byte there combined with `by` by xor."""
    if word == "cut":
        return content[:at]
    return content[:at] + bytes([content[at] ^ by]) + content[at + 1 :]


def places(content: bytes, every: int, chance: random.Random) -> Iterator[tuple[str, int, int]]:
    """Yield two flips of a byte and a cut before it, for all or a sample of the bytes.

    Args:
        content: the content of a file.
        every: how many bytes at most.
        chance: chooses the bytes, the bit of the first flip and the value of the second.
    """
    size = len(content)
    for at in range(size) if size <= every else sorted(chance.sample(range(size), every)):
        yield "flip", at, 1 << chance.randrange(8)
        yield "flip", at, chance.randrange(1, 256)
        yield "cut", at, 0


def _flip(path: Path, chance: random.Random, root: Path) -> None:
    content = path.read_bytes() or b"\0"
    for _ in range(chance.choice((1, 1, 1, 20))):
        at = chance.randrange(len(content))
        content = changed(content, "flip", at, chance.randrange(1, 256))
    path.write_bytes(content)


def _cut(path: Path, chance: random.Random, root: Path) -> None:
    size = path.stat().st_size
    os.truncate(path, chance.choice((0, chance.randrange(size + 1), max(0, size - 1))))


def _nest(path: Path, chance: random.Random, root: Path) -> None:
    """Put a deep value in a place where a value may be, with a right checksum."""
    content, depth = path.read_bytes(), chance.choice(DEPTHS)
    if path.suffix == ".toml":
        path.write_bytes(_nested_toml(content, depth, chance))
    elif path.suffix in (".json", ".jsonl"):
        opening, closing = chance.choice(((b"[", b"]"), (b'{"a":', b"}")))
        deep = opening * depth + b"1" + closing * depth
        _put(path, content, deep, chance)
    else:
        _flip(path, chance, root)


def _nested_toml(content: bytes, depth: int, chance: random.Random) -> bytes:
    match chance.randrange(4):
        case 0:
            deep = b"deep = " + b"[" * depth + b"1" + b"]" * depth
        case 1:
            deep = b"deep = " + b"{ a = " * depth + b"1" + b" }" * depth
        case 2:
            deep = b"deep" + b".a" * depth + b" = 1"
        case _:
            return content + b"\n[deep" + b".a" * depth + b"]\nx = 1\n"
    heads = [0, *(match.end() for match in re.finditer(rb"(?m)^\[.*\]\n", content))]
    at = chance.choice(heads)
    return content[:at] + deep + b"\n" + content[at:]


def _put(path: Path, content: bytes, value: bytes, chance: random.Random) -> None:
    """Replace the value of one key of a JSON object, or of a line of such objects."""
    lines = content.splitlines() if path.suffix == ".jsonl" else [content]
    at = chance.randrange(len(lines)) if lines else 0
    if not lines or not lines[at].startswith(b"{"):
        path.write_bytes(content + value + b"\n")
        return
    fields = msgspec.json.decode(lines[at], type=dict[str, msgspec.Raw])
    sealed = fields.pop("sum", None) is not None
    key = "machine" if "machine" in fields else chance.choice([k for k in fields if k != "kind"])
    fields[key] = msgspec.Raw(value)
    pairs = (b'"%s":%s' % (name.encode(), bytes(raw)) for name, raw in fields.items())
    line = b"{" + b",".join(pairs)
    if sealed:
        line += b',"sum":"%08x"' % zlib.crc32(line)
    lines[at] = line + b"}"
    path.write_bytes(b"\n".join(lines) + b"\n" * content.endswith(b"\n"))


def _enlarge(path: Path, chance: random.Random, root: Path) -> None:
    kind = chance.choice(("line", "sparse", "zeros", "value"))
    if kind == "value" and path.suffix in (".json", ".jsonl"):
        _put(path, path.read_bytes(), b'"' + b"x" * LONG + b'"', chance)
    elif kind == "zeros":
        os.truncate(path, path.stat().st_size + 2 * LONG)
    elif kind == "sparse":
        os.truncate(path, HUGE)
    else:
        with open(path, "ab") as file:
            file.write(b"x" * LONG + b"\n")


def _fifo(path: Path, chance: random.Random, root: Path) -> None:
    _remove(path)
    os.mkfifo(path)


def _device(path: Path, chance: random.Random, root: Path) -> None:
    """Put the device of endless zeros there, or a link to it if that is not allowed."""
    _remove(path)
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
        path.open("rb").close()
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EACCES):
            raise
        path.unlink(missing_ok=True)
        path.symlink_to("/dev/zero")


def _folder(path: Path, chance: random.Random, root: Path) -> None:
    _remove(path)
    path.mkdir()
    (path / "within").write_text("a file in a folder that should be a file\n")


def _link(path: Path, chance: random.Random, root: Path) -> None:
    """Put a link there: to itself, to nothing, to a file beside it, or to a copy outside."""
    match chance.randrange(5):
        case 0:
            target: Path = path
        case 1:
            target = root / OUTSIDE / "nothing"
        case 2:
            beside = sorted(each for each in path.parent.iterdir() if each != path)
            target = chance.choice(beside or [path])
        case _:
            target = root / OUTSIDE / path.name
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, target)
    _remove(path)
    path.symlink_to(target)


def _gone(path: Path, chance: random.Random, root: Path) -> None:
    _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


KINDS: dict[str, Callable[[Path, random.Random, Path], None]] = {
    "flip": _flip,
    "cut": _cut,
    "nest": _nest,
    "enlarge": _enlarge,
    "fifo": _fifo,
    "device": _device,
    "folder": _folder,
    "link": _link,
    "gone": _gone,
}
OF_FOLDERS = ("fifo", "device", "link", "gone")
"""The kinds that can be applied to a folder."""


def sampled(root: Path, count: int, seed: int) -> list[Case]:
    """Return cases of all kinds in turn, each for a file or folder below a root."""
    chance, cases = random.Random(seed), list[Case]()
    among = groups(root)
    while len(cases) < count:
        kind = list(KINDS)[len(cases) % len(KINDS)]
        path = chance.choice(among[chance.choice(sorted(among))])
        if path.is_dir() and kind not in OF_FOLDERS:
            continue
        cases.append(Case(short(root, path), kind, chance.randrange(1 << 30)))
    return cases


def groups(root: Path) -> dict[tuple[str, ...], list[Path]]:
    """Return the files below a root, and the folders in sweeps, by what they are.

    The weights of 18 trials are one group, and so are all logs of a sweep and all tables.
    """
    named: dict[tuple[str, ...], list[Path]] = {}
    for path in sorted(root.rglob("*")):
        place, *parts = short(root, path).split("/")
        depth = 1 if place == "home" and parts[:1] == ["sweeps"] else 0
        in_sweep = depth and len(parts) > 2
        if path.is_file() or (path.is_dir() and in_sweep):
            kind = path.suffix if path.suffix in (".csv", ".log") else path.name
            inner = (*parts[: 2 * depth], str(len(parts)), "folder" if path.is_dir() else kind)
            named.setdefault((place, *inner), []).append(path)
    return named
