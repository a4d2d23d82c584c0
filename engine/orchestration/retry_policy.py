"""Decides how often a trial, a place or a device is tried again after a worker died.

A missing device shows when the next worker cannot start on it. A device on which workers start but
then fail shows by failing on several trials in a row. A trial that breaks every device moves
through all devices once; after that it is retried as after any other death of a worker.
"""

from collections import Counter, defaultdict

MOST_TRIALS = 3
"""Trials in a row that may fail on a device before it is out of service."""


class Service:
    """The devices that have workers, by name, and the trials that failed on each."""

    def __init__(self) -> None:
        self._workers: Counter[str] = Counter()
        self._over: dict[str, set[str]] = defaultdict(set)
        self._shunned: dict[str, set[str]] = defaultdict(set)

    def join(self, device: str) -> None:
        """Increase the number of places on the device by one."""
        self._workers[device] += 1

    def leave(self, device: str) -> None:
        """Decrease the number of places on the device by one."""
        self._workers[device] -= 1

    def failed(self, device: str, trial: str) -> None:
        """Record that the device failed during the trial."""
        self._over[device].add(trial)
        self._shunned[trial].add(device)

    def went_well(self, device: str, trial: str) -> None:
        """Record that the trial ended on the device without a failure."""
        self._over.pop(device, None)
        self._shunned.pop(trial, None)

    def useless(self, device: str) -> bool:
        """Return whether the device failed on so many trials that it is out of service."""
        return len(self._over[device]) >= MOST_TRIALS

    def elsewhere(self, trial: str) -> bool:
        """Return whether a device is in service that has not failed on the trial."""
        return any(n > 0 and name not in self._shunned[trial] for name, n in self._workers.items())

    def may(self, device: str, trial: str) -> bool:
        """Return whether the trial may run on the device.

        It may not if it failed on the trial before and another device can take it.
        """
        return device not in self._shunned[trial] or not self.elsewhere(trial)


RETRIES = 3
FIRST_WAIT_SECONDS = 0.5
PATIENT_RETRIES, LONGEST_WAIT_SECONDS = 35, 10.0
"""For a lack of open files or processes, which may pass: about five minutes."""


class Deaths:
    """Counts deaths without progress: a death after a newer checkpoint starts the count again.

    Args:
        retries: the number of retries.
        longest: the longest wait, in seconds.
    """

    def __init__(self, retries: int = RETRIES, longest: float = LONGEST_WAIT_SECONDS) -> None:
        self._retries, self._longest = retries, longest
        self._deaths: dict[str, tuple[int, int]] = defaultdict(lambda: (0, -1))

    def forget(self, name: str) -> None:
        """Reset the count."""
        self._deaths.pop(name, None)

    def another(self, name: str, steps: int) -> float | None:
        """Count a worker's death; return the seconds to wait before a retry, or None to give up.

        Args:
            name: what died: a job, a line or a place.
            steps: the optimizer steps in the newest checkpoint now.
        """
        count, before = self._deaths[name]
        count = 1 if steps > before else count + 1
        self._deaths[name] = count, steps
        wait = min(self._longest, FIRST_WAIT_SECONDS * 2 ** (count - 1))
        return wait if count <= self._retries else None
