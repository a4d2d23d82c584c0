"""Replaces characters by ASCII ones of the same width, for terminals without Unicode.

`plain` converts whole rows. The error handler does the same for other text, if the encoding of its
stream lacks a character.
"""

import codecs
import io
import locale
import math
import os
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TextIO

HANDLER = "batchscope-plain"
BRAILLE = range(0x2800, 0x2900)
MIDDLE, UPPER, LOWER = 0x36, 0x1B, 0xE4
"""The braille dots of the two middle rows, of the upper rows and of the lower rows."""
_PAIRS = (
    ("█▉▊▋▌", "#####"),
    ("▍▎▏", "---"),
    ("▇▆▅▄▃▂▁", "%*+=-._"),
    ("░▒▓", ":o%"),
    ("━╸╌╍", "=-.-"),
    ("╭╮╰╯┌┐└┘├┤┬┴┼", "+++++++++++++"),
    ("─│┃╵╷", "-||''"),
    ("▔▁▎▊", "-_||"),
    ("●▲■◆▼○△□◇▽", "o^#*vo^#*v"),
    ("◌‖✓✗↯»·▸▾▶◀★", "o=+x!>.>v><*"),
    ("↑↓←→↗↖↙↘⇧", "^v<>/\\/\\^"),
    ("±×÷−–—…", "~x/---."),
    ("μκσαβρεΣ²³°•≤⁻", "uksabreS23 *<-"),
    ("‘’“”«»", "''\"\"<>"),
)
_TABLE = {
    ord(one): other for ones, others in _PAIRS for one, other in zip(ones, others, strict=True)
}
_TABLE[ord("🔎")] = "> "  # Textual's palette shows it before its field


def plain(text: str) -> str:
    """Return the text in ASCII with the same width: without accents, `?` for unknown characters."""
    return text if text.isascii() else "".join(map(_plain, text))


@lru_cache(4096)
def _plain(character: str) -> str:
    if character.isascii():
        return character
    code = ord(character)
    if code in _TABLE:
        return _TABLE[code]
    if code in BRAILLE:
        return _dots(code - BRAILLE.start)
    from rich.cells import cell_len

    base = unicodedata.normalize("NFKD", character)[:1]
    width = cell_len(character)
    return base if base.isascii() and width == 1 else "?" * width


def _dots(dots: int) -> str:
    """Return the ASCII character that looks most like a cell of braille dots."""
    if not dots & ~MIDDLE:
        return "-" if dots else " "
    if dots & UPPER and dots & LOWER:
        return ":"
    return "'" if dots & UPPER else "."


def prepare(streams: Iterable[TextIO | None], ascii_only: bool) -> None:
    """Set up streams to replace characters they cannot encode, or all non-ASCII, by ASCII."""
    codecs.register_error(HANDLER, _handle)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="ascii" if ascii_only else None, errors=HANDLER)


def _handle(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return plain(error.object[error.start : error.end]), error.end


def wants_ascii(asked: bool | None, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether to draw in ASCII: `asked` if given, else whether the locale is not UTF-8."""
    return not _utf8_locale(environment) if asked is None else asked


def _utf8_locale(environment: Mapping[str, str]) -> bool:
    """Return whether the locale is UTF-8, by the first variable that is set or by Python."""
    names = ("LC_ALL", "LC_CTYPE", "LANG")
    name = next((environment[each] for each in names if environment.get(each)), "")
    if name in ("C", "POSIX"):
        return False
    encoding = name.partition(".")[2].partition("@")[0] or locale.getpreferredencoding(False)
    return _is_utf8(encoding)


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("-", "").replace("_", "") == "utf8"


def _finite(value: object) -> object:
    """Return plain values with None for NaN and infinities, as msgspec writes them."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(value: object, stream: TextIO) -> str:
    """Return a value as JSON on one line.

    Control characters are escaped; if the stream is not UTF-8, all non-ASCII characters are too.
    So are the bytes of a name that is not UTF-8, as Python and `os.fsencode` read them.
    """
    import json

    import msgspec

    try:
        text = msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        return json.dumps(_finite(msgspec.to_builtins(value)))
    encoding = getattr(stream, "encoding", None)
    if encoding and not _is_utf8(encoding):
        return json.dumps(json.loads(text))
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
