"""Keeps a training on disk: when, and what is said where that fails."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.errors import printable
from batchscope.engine.training.trainer import snapshot
from batchscope.engine.training.trainer.state import TrainingState

MOST_SHARE = 0.02  # of the time, that keeping may take


class CheckpointWriter:
    """The checkpoints of one attempt in `folder`; without a folder nothing is kept.

    Writing takes no more than a fiftieth of the time. `warn` says what goes wrong.
    """

    def __init__(self, folder: Path | None, attempt: int, warn: Callable[[str], None]) -> None:
        self._folder, self._attempt, self._warn = folder, attempt, warn
        self._refused = False
        self._cost = 0.0
        self._last = time.monotonic()

    def due(self, apart: float) -> bool:
        """Whether the last durable point is `apart` seconds ago, and what it cost made up for."""
        return time.monotonic() - self._last > max(apart, self._cost / MOST_SHARE)

    def keep(self, training: TrainingState) -> bool:
        """Make the training durable as it stands; False where the disk refuses: it goes on.

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
                    self._warn(f"no checkpoint could be written ({why}); the training goes on")
                self._refused = True
        self._last = time.monotonic()
        self._cost = self._last - began
        return not self._refused

    def take_up(self, training: TrainingState, begin_anew: Callable[[], None]) -> bool:
        """Put a training that has not begun to its newest whole checkpoint; False without one.

        One that is damaged or does not fit is passed over, and said; what it may have moved is
        undone by `begin_anew`.
        """
        for path in checkpoints.candidates(self._folder) if self._folder else ():
            try:
                snapshot.put_back(training, checkpoints.read(path)[1])
            except FileNotFoundError:
                continue
            except Exception as error:  # torch raises what it likes at bytes that it cannot read
                known = isinstance(error, checkpoints.Damaged | snapshot.Misfit)
                why = str(error) if known else f"{type(error).__name__}: {error}"
                self._warn(f"{path.name} is passed over: {printable(why)[:300]}")
                if isinstance(error, checkpoints.Damaged):
                    with contextlib.suppress(OSError):
                        path.unlink()  # it shall not take the place of a whole one
                begin_anew()
            else:
                return True
        return False
