"""Where a sweep trains, as `--on` names it; knows of Ray only whether it is installed."""

import os
import re
import socket
from importlib.util import find_spec
from typing import NamedTuple

from batchscope.engine.errors import MachineProblem, UsageProblem, printable, similar

HERE, LOCAL, AUTO = "here", "ray", "auto"
CLIENT = "ray://"
VARIABLE = "RAY_ADDRESS"
"""Where Ray itself looks for the cluster that `auto` means."""
REACH_SECONDS = 5.0
CLIENT_PORT = (
    "the port is that of the Ray client server (10001 unless `ray start` was told another)"
)

_PLACE = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(?P<port>\d{1,5})")


class ClusterAddress(NamedTuple):
    """The door of a cluster."""

    host: str
    port: int


def check(on: str) -> str:
    """What `--on` says, if it is one of its forms.

    Raises:
        UsageProblem: it is none.
    """
    if on not in (HERE, LOCAL, AUTO) and _place(on) is None:
        forms = "expected ray, auto or ray://HOST:PORT, such as ray://head:10001"
        hint = "" if on.startswith(CLIENT) else similar(on, (LOCAL, AUTO))
        raise UsageProblem(f"--on {printable(on)}: {forms}{hint}")
    return on


def check_reachable(on: str) -> None:
    """Refuse, before anything is made, what cannot be had: Ray itself, or somebody at the door.

    Raises:
        MachineProblem: the extra is not installed, or nobody answers.
    """
    if on == HERE:
        return
    place = _place(on)
    if find_spec("ray") is None:
        raise MachineProblem(f"--on {on}: needs Ray: pip install 'batchscope[ray]'")
    if place:
        if find_spec("grpc") is None:  # ray alone comes without what its client speaks by
            raise MachineProblem(f"--on {on}: needs Ray's client: pip install 'batchscope[ray]'")
        why = _unreached(place)
        if why:
            raise MachineProblem(f"--on {on}: cannot be reached: {why}; {CLIENT_PORT}")
    head = os.environ.get(VARIABLE, "") if on == AUTO else ""
    place = _place(head if head.startswith(CLIENT) else CLIENT + head)
    why = _unreached(place) if place else ""
    if why:
        raise MachineProblem(
            f"--on {on}: {VARIABLE} is {printable(head)}, which cannot be reached: {why}"
        )


def _unreached(place: ClusterAddress) -> str:
    """Why nobody answers at a door; nothing where somebody does."""
    try:
        socket.create_connection(place, REACH_SECONDS).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _place(on: str) -> ClusterAddress | None:
    match = _PLACE.fullmatch(on.removeprefix(CLIENT)) if on.startswith(CLIENT) else None
    if match is None or not 0 < int(match["port"]) < 1 << 16:
        return None
    return ClusterAddress(match["host"].strip("[]"), int(match["port"]))
