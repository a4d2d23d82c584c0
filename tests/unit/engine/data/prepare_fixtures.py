"""Data sets to prepare, and folders to prepare them in."""

import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[4]
COMMAND = [sys.executable, "-P", "-m", "batchscope.engine.data.prepare"]


def idx(array: NDArray[np.uint8]) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_mnist(root: Path, folder: str = "MNIST", train: int = 30, test: int = 10) -> Path:
    """Every pixel of image n is n, every label its last digit; returns the raw folder."""
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", train), ("t10k", test)):
        numbers = np.arange(count, dtype=np.uint8)
        images = np.repeat(numbers, 28 * 28).reshape(count, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(numbers % 10))
    return raw


def environment(**changes: str) -> dict[str, str]:
    proxies = {"http_proxy": "", "https_proxy": "", "no_proxy": ""}
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), **proxies, **changes}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def facts(output: str) -> list[dict[str, Any]]:
    """What a process stated, without the lines that only say that it is alive."""
    lines = [json.loads(line) for line in output.splitlines()]
    return [line for line in lines if "doing" not in line]


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)
