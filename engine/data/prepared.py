"""Describes a prepared data set; its arrays are on disk."""

import msgspec

from batchscope.engine.task_table import TaskFacts

FORMAT = 1


class Prepared(msgspec.Struct, frozen=True):
    """A prepared data set: where it is, how many images, and the SHA-256 of its arrays (hex).

    Of a task, `folder` is that of its code, and `task` what running its function has shown.
    """

    name: str
    folder: str
    train: int
    test: int
    shape: tuple[int, int, int]
    classes: int
    digest: str
    format: int = FORMAT
    task: TaskFacts | None = None
