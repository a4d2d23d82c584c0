"""Predictions of trials on the test images, packed small enough to keep for ten thousand trials.

One byte an image: (predicted − label) mod classes. Most of them are 0, which compresses well: some
500 bytes for 10,000 images of which 2 % are wrong. No label is needed to judge them. They are
unpacked where somebody asks, and numpy is loaded then.
"""

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVEL = 9


def pack(missed: bytes) -> bytes:
    """Bytes of one trial, one an image, compressed."""
    return zlib.compress(missed, LEVEL)


def unpack(packed: Sequence[bytes]) -> "NDArray[np.uint8]":
    """What several trials were off by, (trials, images).

    Raises:
        ValueError: they are not of equally many images.
        zlib.error: something else was packed.
    """
    import numpy as np

    return np.stack([np.frombuffer(zlib.decompress(each), dtype=np.uint8) for each in packed])
