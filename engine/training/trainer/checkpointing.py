"""Writes checkpoints of a training when they are due, and resumes from the newest usable one."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.errors import printable
from batchscope.engine.training.trainer import snapshot
from batchscope.engine.training.trainer.state import TrainingState

MOST_SHARE = 0.02  # the share of the time that writing checkpoints may take


class CheckpointWriter:
    """Writes the checkpoints of one attempt, which take at most a fiftieth of the time.

    Args:
        folder: folder of the checkpoints; None writes none.
        attempt: number of the attempt.
        warn: called with the text of each warning.
    """

    def __init__(self, folder: Path | None, attempt: int, warn: Callable[[str], None]) -> None:
        self._folder, self._attempt, self._warn = folder, attempt, warn
        self._refused = False
        self._cost = 0.0
        self._last = time.monotonic()

    def due(self, apart: float) -> bool:
        """Return whether a checkpoint may be written again.

        That is `apart` seconds after the last one, or later if that one took long to write.
        """
        return time.monotonic() - self._last > max(apart, self._cost / MOST_SHARE)

    def save(self, training: TrainingState) -> bool:
        """Write a checkpoint, and return False if the disk refuses; training continues then.

        Raises:
            Superseded: a later attempt of the trial has written its checkpoint.
        """
        began = time.monotonic()
        if self._folder is not None:
            try:
                payload = snapshot.take(training)
                checkpoints.write(self._folder, self._attempt, training.at.steps, payload)
                if self._refused:
                    self._warn("checkpoints can be written again")
                self._refused = False
            except OSError as error:
                if not self._refused:
                    why = printable(error.strerror or error)
                    self._warn(f"cannot write a checkpoint ({why}); training continues without")
                self._refused = True
        self._last = time.monotonic()
        self._cost = self._last - began
        return not self._refused

    def restore(self, training: TrainingState, begin_anew: Callable[[], None]) -> bool:
        """Restore the newest usable checkpoint, and return whether there is one.

        A checkpoint that is damaged or belongs to another training is skipped with a warning.

        Args:
            training: a training that has not begun.
            begin_anew: sets the training up again after a checkpoint that could not be restored.
        """
        for path in checkpoints.candidates(self._folder) if self._folder else ():
            try:
                payload = checkpoints.read(path, snapshot.most_bytes(training))[1]
                snapshot.restore(training, payload)
            except FileNotFoundError:
                continue
            except Exception as error:  # torch raises many kinds for bytes that it cannot read
                expected = isinstance(error, checkpoints.Damaged | snapshot.Misfit)
                why = str(error) if expected else f"{type(error).__name__}: {error}"
                why = getattr(error, "strerror", None) or why
                self._warn(f"{path.name} is passed over: {printable(' '.join(why.split()))[:300]}")
                if isinstance(error, checkpoints.Damaged):
                    with contextlib.suppress(OSError):
                        path.unlink()  # only two are kept, and a damaged one would be one of them
                begin_anew()
            else:
                return True
        return False
