"""Describes a prepared data set; its arrays are on disk."""

import msgspec

FORMAT = 1


class Prepared(msgspec.Struct, frozen=True):
    """A prepared data set: where it is, how many images, and the SHA-256 of its arrays (hex)."""

    name: str
    folder: str
    train: int
    test: int
    shape: tuple[int, int, int]
    classes: int
    digest: str
    format: int = FORMAT
