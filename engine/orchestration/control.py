"""What people have asked of a running sweep, for those who work on it to wait for."""

import asyncio
from collections.abc import AsyncIterator


class Control:
    """Whether the sweep is to stop or to hold still, and which trials nobody wants any more."""

    def __init__(self) -> None:
        self.stopping = False
        self.paused = False
        self.unwanted: set[str] = set()
        self._turn = asyncio.Event()

    def stop(self) -> None:
        """End the sweep as soon as the workers have answered."""
        self.stopping = True
        self.tell()

    def pause(self, paused: bool) -> None:
        """Hold still, or go on."""
        self.paused = paused
        self.tell()

    def drop(self, trial: str) -> None:
        """End a trial that a worker has in hand."""
        self.unwanted.add(trial)
        self.tell()

    def ends(self, trial: str) -> bool:
        """Whether work on a trial is to end."""
        return self.stopping or trial in self.unwanted

    def tell(self) -> None:
        """Have everyone who waits look again."""
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()

    async def changes(self) -> AsyncIterator[None]:
        """At once, and again whenever something may have changed meanwhile."""
        while True:
            turn = self._turn  # before the look: what changes during it is not missed
            yield
            await turn.wait()

    async def stopped(self) -> None:
        """Wait until the sweep is to stop."""
        async for _ in self.changes():
            if self.stopping:
                return
