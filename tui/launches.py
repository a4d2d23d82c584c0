"""Starts conductors in threads, and waits for them if the screen is left meanwhile."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from batchscope.engine.errors import Problem

Result = TypeVar("Result")


class Launches:
    """The starts that are under way.

    A conductor is detached, so it runs on when the screen that asked for it is gone. What became of
    its start is then told by `finish`, or by `tell` if only another screen is shown.
    """

    def __init__(self, tell: Callable[[Problem], None]) -> None:
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="launch")
        self._pending: set[Future[Any]] = set()
        self._tell = tell

    async def run(self, begin: Callable[[], Result]) -> Result:
        """Call `begin` in a thread and return its result; it goes on if this is cancelled."""
        future = self._threads.submit(begin)
        self._pending.add(future)
        try:
            result = await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            future.add_done_callback(self._unheard)
            raise
        except BaseException:
            self._pending.discard(future)
            raise
        self._pending.discard(future)
        return result

    def finish(self, seconds: float | None = None) -> bool:
        """Wait until every start has ended, at most so many seconds; return whether they have."""
        return not wait(self._pending, seconds).not_done

    def close(self) -> None:
        """Wait until every start has ended and been told of; nothing is started afterwards."""
        self._threads.shutdown()

    def _unheard(self, future: "Future[Any]") -> None:
        """Pass on the problem of a start that failed after its screen was closed."""
        problem = future.exception()
        if isinstance(problem, Problem):
            self._tell(problem)
