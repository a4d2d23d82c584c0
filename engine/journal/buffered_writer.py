"""Writes the journal despite a full disk: events that cannot be written wait in memory."""

import errno
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from batchscope.engine.journal import file as journal
from batchscope.engine.journal.events import AnyEvent, DataProgress, MemorySampled, Note, Progress

REFUSALS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.ENOMEM}
    | {errno.EMFILE, errno.ENFILE}
)
PASSING = (Progress, MemorySampled, DataProgress)
MOST_BYTES = 64 << 20
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 10.0


class BufferedWriter:
    """Appends events as soon as the disk accepts them, in order.

    Progress and memory samples are not kept waiting, since newer ones replace them.

    Args:
        path: the journal.
        notice: shows a text while the journal cannot be written, and removes it if empty.
        clock: returns the time for new events, in Unix seconds.

    Raises:
        OSError: writing fails for another reason than a full, read-only or broken disk, or more
            than 64 MiB of events would have to wait.
    """

    def __init__(
        self, path: Path, notice: Callable[[str], None], clock: Callable[[], float]
    ) -> None:
        self._writer, self._notice, self._clock = journal.Writer(path), notice, clock
        self._waiting: deque[tuple[AnyEvent, ...]] = deque()
        self._bytes = 0
        self._since = self._next = 0.0
        self._wait = FIRST_WAIT_SECONDS

    @property
    def behind(self) -> bool:
        """Whether events wait to be written."""
        return bool(self._waiting)

    def append(self, *events: AnyEvent) -> None:
        """Append events in one write, or keep them until the disk accepts them."""
        if not self.behind or self.catch_up():
            try:
                self._writer.append(*events)
                if not self._writer.doubtful:
                    self._notice("")  # only events that need not be kept were refused
                return
            except OSError as error:
                self._refused(error)
        self._keep(events)

    def sync(self) -> bool:
        """Sync the journal; return False if events still wait or the sync failed."""
        if self.behind and not self.catch_up():
            return False
        try:
            self._writer.sync()
        except OSError as error:
            self._refused(error)
            return False
        self._notice("")
        return True

    def catch_up(self, at_once: bool = False) -> bool:
        """Write the waiting events if a retry is due; return whether all events are written.

        Args:
            at_once: try now, whenever the last try was.
        """
        if not self.behind:
            return True
        if not at_once and time.monotonic() < self._next:
            return False
        count = 0
        while self._waiting:
            try:
                self._writer.append(*self._waiting[0])
            except OSError as error:
                self._refused(error)
                return False
            count += len(self._waiting.popleft())
        self._caught_up(count)
        return not self.behind

    def close(self) -> None:
        """Sync and close the journal."""
        self._writer.close()

    def _keep(self, events: tuple[AnyEvent, ...]) -> None:
        kept = tuple(event for event in events if not isinstance(event, PASSING))
        if kept:
            self._waiting.append(kept)
            self._bytes += sum(len(journal.encode(event)) for event in kept)
        if self._bytes > MOST_BYTES:
            raise OSError(errno.ENOSPC, "the disk has been full for too long")

    def _refused(self, error: OSError) -> None:
        if error.errno not in REFUSALS:
            raise error
        now = time.monotonic()
        if not self.behind:
            self._since, self._wait = now, FIRST_WAIT_SECONDS
        self._next = now + self._wait
        self._wait = min(2 * self._wait, LONGEST_WAIT_SECONDS)
        why = error.strerror or str(error)
        self._notice(f"the journal cannot be written ({why}): new events are kept in memory")

    def _caught_up(self, count: int) -> None:
        passed, self._bytes = time.monotonic() - self._since, 0
        self._notice("")
        late = f"{count:,} events were written late"
        text = f"the journal could not be written for {passed:.0f} s: {late}"
        self.append(Note(at=self._clock(), level="warning", text=text))
