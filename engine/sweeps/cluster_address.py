"""Checks the cluster that `--on` names. Ray itself is not imported."""

import os
import re
import socket
from importlib.util import find_spec
from typing import NamedTuple

from batchscope.engine.errors import MachineProblem, UsageProblem, printable, similar

HERE, LOCAL, AUTO = "here", "ray", "auto"
CLIENT = "ray://"
VARIABLE = "RAY_ADDRESS"
"""Environment variable in which Ray looks for the address of the cluster that `auto` means."""
REACH_SECONDS = 5.0
CLIENT_PORT = (
    "expected the port of the Ray client server (10001 unless `ray start` was given another)"
)

_PLACE = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(?P<port>\d{1,5})")


class ClusterAddress(NamedTuple):
    """Host and port of a cluster's Ray client server."""

    host: str
    port: int


def check(on: str) -> str:
    """Return the value of `--on` if it has a valid form.

    Raises:
        UsageProblem: the form is not valid.
    """
    if on not in (HERE, LOCAL, AUTO) and _place(on) is None:
        forms = "expected ray, auto or ray://HOST:PORT, such as ray://head:10001"
        hint = "" if on.startswith(CLIENT) else similar(on, (LOCAL, AUTO))
        raise UsageProblem(f"--on {printable(on)}: {forms}{hint}")
    return on


def refuse_task(on: str, task_folder: str) -> None:
    """Refuse to run a person's code on a cluster, whose nodes may not have it.

    Args:
        on: the value of `--on`.
        task_folder: the folder of the code; empty if there is none.

    Raises:
        UsageProblem: there is code, and a cluster.
    """
    if on != HERE and task_folder:
        raise UsageProblem(
            f"--on {printable(on)}: not possible with [task] yet; leave it out to train on this "
            "machine"
        )


def check_reachable(on: str) -> None:
    """Check that Ray is installed and that the cluster answers.

    Raises:
        MachineProblem: the extra `ray` is not installed, or the cluster does not answer.
    """
    if on == HERE:
        return
    place = _place(on)
    if find_spec("ray") is None:
        raise MachineProblem(
            f"--on {on}: Ray is not installed; install it with pip install 'batchscope[ray]'"
        )
    if place:
        if find_spec("grpc") is None:  # Ray's client needs it, and plain ray does not install it
            raise MachineProblem(
                f"--on {on}: Ray's client is not installed; "
                "install it with pip install 'batchscope[ray]'"
            )
        why = _unreached(place)
        if why:
            raise MachineProblem(f"--on {on}: no connection: {why}; {CLIENT_PORT}")
    head = os.environ.get(VARIABLE, "") if on == AUTO else ""
    place = _place(head if head.startswith(CLIENT) else CLIENT + head)
    why = _unreached(place) if place else ""
    if why:
        raise MachineProblem(
            f"--on {on}: no connection to {printable(head)}, the address in {VARIABLE}: {why}"
        )


def _unreached(place: ClusterAddress) -> str:
    """Return why no connection to an address is possible; empty if one is."""
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
