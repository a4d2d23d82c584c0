"""How often a trial, a place or a device is tried again after a worker died over it.

A device that is gone is known by the next worker, which cannot start there. One that lets workers
start and fails all the same is known by failing over several trials in a row. A trial that breaks
every device by itself moves through all of them once; then it is tried again as after any death.
"""

from collections import Counter, defaultdict

MOST_TRIALS = 3
"""Trials in a row that a device may fail over, none of which ends well there."""


class Service:
    """The devices that have a worker, by name, and the trials that each has failed over."""

    def __init__(self) -> None:
        self._workers: Counter[str] = Counter()
        self._over: dict[str, set[str]] = defaultdict(set)
        self._shunned: dict[str, set[str]] = defaultdict(set)

    def join(self, device: str) -> None:
        """A worker's place on the device is served from now on."""
        self._workers[device] += 1

    def leave(self, device: str) -> None:
        """One place less on the device."""
        self._workers[device] -= 1

    def failed(self, device: str, trial: str) -> None:
        """The device failed while it worked on the trial."""
        self._over[device].add(trial)
        self._shunned[trial].add(device)

    def went_well(self, device: str, trial: str) -> None:
        """The trial came to an end there."""
        self._over.pop(device, None)
        self._shunned.pop(trial, None)

    def useless(self, device: str) -> bool:
        """Whether it failed over so many trials that it is to be taken out of service."""
        return len(self._over[device]) >= MOST_TRIALS

    def elsewhere(self, trial: str) -> bool:
        """Whether a device is in service that has not failed over the trial."""
        return any(n > 0 and name not in self._shunned[trial] for name, n in self._workers.items())

    def may(self, device: str, trial: str) -> bool:
        """Whether the device may have the trial: not one it failed over, while another may."""
        return device not in self._shunned[trial] or not self.elsewhere(trial)


RETRIES = 3
FIRST_WAIT_SECONDS = 0.5


class Deaths:
    """Counts deaths at the same point: one that got further than the last counts from the start."""

    def __init__(self) -> None:
        self._deaths: dict[str, tuple[int, int]] = defaultdict(lambda: (0, -1))

    def forget(self, name: str) -> None:
        """Count from the start again: it went well."""
        self._deaths.pop(name, None)

    def another(self, name: str, steps: int) -> float | None:
        """Seconds to wait before the next try after a death, or None if there is to be none.

        `steps` are those of the newest checkpoint at this moment.
        """
        count, before = self._deaths[name]
        count = 1 if steps > before else count + 1
        self._deaths[name] = count, steps
        return FIRST_WAIT_SECONDS * 2 ** (count - 1) if count <= RETRIES else None
