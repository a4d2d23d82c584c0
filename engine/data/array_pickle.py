"""Unpickles dicts, lists, numbers, texts and arrays, and nothing that could run code.

A pickle is a program: a single changed byte may ask for gigabytes, and a few bytes may nest objects
so deeply that the interpreter crashes. So its instructions are counted before it is run.
"""

import io
import pickle
import pickletools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchscope.engine.data.raw_files import DataError, text

MOST_CONTAINERS = 50_000
"""Limit for the instructions that build containers or objects, and so for the depth of nesting:
Python hashes a tuple by recursion without a check, which 120,000 levels survive."""

_NUMBERED = {"PUT", "BINPUT", "LONG_BINPUT"}
_PLAIN = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BYTEARRAY8"),
    *("NONE", "NEWTRUE", "NEWFALSE", "GET", "BINGET", "LONG_BINGET", "MEMOIZE", *_NUMBERED),
    *("APPEND", "APPENDS", "SETITEM", "SETITEMS", "MARK", "POP", "POP_MARK", "DUP"),
    *("PROTO", "FRAME", "STOP"),
}


def load(content: bytes, where: str, most: int) -> Any:
    """Return what a pickle holds, with each array as an `Array`.

    Args:
        content: the pickle.
        where: its name in error messages.
        most: the most instructions to run.

    Raises:
        DataError: it names other objects than arrays.
        Exception: it is damaged, or has too many instructions.
    """
    _check_instructions(content, most)
    return _Unpickler(content, where).load()


def _check_instructions(content: bytes, most: int) -> None:
    """Raise `ValueError` if running the instructions would need much more memory than reading."""
    containers = 0
    for number, (instruction, argument, _) in enumerate(pickletools.genops(content), 1):
        containers += instruction.name not in _PLAIN
        # the memo is a table as long as the highest number in it
        numbered = argument if instruction.name in _NUMBERED else 0
        if max(number, numbered or 0) > most or containers > MOST_CONTAINERS:
            raise ValueError("too many instructions")


class _Dtype:
    """Replaces `numpy.dtype`: records the integer type of an array."""

    def __init__(self, code: bytes | str, *_: object) -> None:
        self.code = text(code)
        self.order = "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = text(state[1])


class Array:
    """Replaces `numpy.ndarray`: records what the array is made of.

    numpy's own classes trust the types and sizes in a pickle, so none of them is allowed.
    """

    shape: tuple[int, ...]
    dtype: _Dtype
    column_major: bool
    raw: bytes

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.dtype, self.column_major, self.raw = state

    def array(self) -> NDArray[Any]:
        """Return the array in its shape; raise if its values are not integers."""
        if self.dtype.code[0] not in "iu":
            raise ValueError(self.dtype.code)
        dtype = np.dtype(self.dtype.order + self.dtype.code)
        flat: NDArray[Any] = np.frombuffer(self.raw, dtype=dtype)
        return flat.reshape(self.shape, order="F" if self.column_major else "C")


def _reconstruct(*_: object) -> Array:
    return Array()


def _from_buffer(raw: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str, *_: int) -> Array:
    array = Array()
    array.__setstate__((1, shape, dtype, order == "F", raw))
    return array


def _encode(text: str, encoding: str) -> bytes:
    """Encode a text; Python 3 pickles bytes for Python 2 as a call of this function."""
    if encoding != "latin1":
        raise ValueError(encoding)
    return text.encode("latin1")


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    """Reads dicts, lists, numbers and bytes, and replaces numpy's classes by those above.

    A pickle may name any function to call; here only those in `_ADMITTED` can be found.
    """

    def __init__(self, content: bytes, where: str) -> None:
        # The published files were written by Python 2, where strings are bytes.
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._where = where

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise DataError(
                f"{self._where}: not loaded, because it uses {module}.{name};"
                " a batch of CIFAR-10 has only arrays, lists and strings"
            ) from None
