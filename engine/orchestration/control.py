"""The commands that apply to a running sweep: stop, pause, skip. Tasks wait here for changes."""

import asyncio
from collections.abc import AsyncIterator


class Control:
    """Whether the sweep is to stop or pause, and which running trials are to be skipped."""

    def __init__(self) -> None:
        self.stopping = False
        self.paused = False
        self.accepts_code = False
        """Whether the sweep goes on if the code of a task has changed since it began."""
        self.unwanted: set[str] = set()
        self._turn = asyncio.Event()

    def stop(self) -> None:
        """Stop the sweep as soon as the workers have answered."""
        self.stopping = True
        self.notify()

    def pause(self, paused: bool) -> None:
        """Pause the sweep, or continue it if `paused` is false."""
        self.paused = paused
        self.notify()

    def drop(self, trial: str) -> None:
        """Skip a trial that is assigned to a worker."""
        self.unwanted.add(trial)
        self.notify()

    def ends(self, trial: str) -> bool:
        """Return whether the sweep stops or the trial is to be skipped."""
        return self.stopping or trial in self.unwanted

    def notify(self) -> None:
        """Wake every task that waits for a change."""
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()

    async def changes(self) -> AsyncIterator[None]:
        """Yield at once, and again after each change."""
        while True:
            turn = self._turn  # taken before the caller looks, so that no change is missed
            yield
            await turn.wait()

    async def stopped(self) -> None:
        """Wait for a request to stop the sweep."""
        async for _ in self.changes():
            if self.stopping:
                return
