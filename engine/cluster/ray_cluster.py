"""Joins a Ray cluster and places workers on it."""

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

from batchscope import __version__
from batchscope.engine.checkpoints.mirror import data_files
from batchscope.engine.checkpoints.remote_store import is_url
from batchscope.engine.cluster.actor import Hello, Host
from batchscope.engine.cluster.actor_link import RayLink, answer, shortly
from batchscope.engine.data.prepared import Prepared
from batchscope.engine.devices.devices import cores
from batchscope.engine.errors import MachineProblem, printable
from batchscope.engine.orchestration.crew import DiedAtStart
from batchscope.engine.sweeps.cluster_address import AUTO, CLIENT, LOCAL

GPU, CPU = "GPU", "CPU"
JOIN_SECONDS = 90.0
LEAVE_SECONDS = 10.0
"""Kept short: Ray kills a process that has had no answer of the head node for a minute."""
CREATION = "creation task"
"""The phrase in Ray's error if an actor could not be created."""


class Needs(NamedTuple):
    """The resource that a worker takes from a node: GPUs or CPUs, perhaps a fraction of a GPU."""

    resource: str
    amount: float

    @property
    def text(self) -> str:
        """The amount and the resource in words, such as "2 CPUs"."""
        one = self.amount == 1
        return f"{self.amount:g} {self.resource}{'' if one or self.resource == GPU else 's'}"

    def room(self, has: float) -> int:
        """Return how many workers fit on a node that has `has` of the resource.

        A worker with a fraction of a GPU uses one card only.
        """
        if self.amount > 1:
            return int(has / self.amount)
        return int(has) * int(1 / self.amount + 1e-9)


class Terms(NamedTuple):
    """The options of a sweep on a cluster.

    Attributes:
        store: the place for checkpoints; empty for the sweep's folder.
        gpu_share: the fraction of a GPU that each worker takes.
        device: `auto`, `cuda` or `cpu`.
        parallel: the most workers that train one trial together.
    """

    store: str = ""
    gpu_share: float = 1.0
    device: str = "auto"
    parallel: int = 1


class Cluster:
    """A cluster that this process has joined, for the sweep in `folder`."""

    def __init__(self, ray: Any, folder: Path, terms: "Terms") -> None:
        self._ray, self._folder = ray, folder
        self._store = terms.store
        self._data: dict[str, Any] = {}
        on_gpu = terms.device == "cuda" or (terms.device == "auto" and self._total(GPU) > 0)
        # workers that train one trial together run on one node, each with its own GPU or core
        each = (terms.gpu_share if on_gpu and terms.parallel == 1 else 1) * terms.parallel
        self.needs = Needs(GPU if on_gpu else CPU, each)

    def slots(self) -> int:
        """Return how many workers the cluster has room for now, busy ones included."""
        return sum(map(self.needs.room, self._each_node(self.needs.resource)))

    def _total(self, resource: str) -> float:
        return sum(self._each_node(resource))

    def _each_node(self, resource: str) -> list[float]:
        """Return how much of a resource each live node has."""
        try:
            nodes = self._ray.nodes()
        except Exception as error:  # Ray raises many kinds of errors if it does not answer
            raise MachineProblem(f"the cluster is gone: {shortly(error)}") from None
        return [float(node["Resources"].get(resource, 0.0)) for node in nodes if node["Alive"]]

    async def start(self, number: int) -> RayLink:
        """Start a worker on a node with room; wait until there is one.

        Raises:
            DiedAtStart: the node was lost while the worker started.
            MachineProblem: the worker cannot be started, and waiting does not help.
        """
        count = {"num_gpus" if self.needs.resource == GPU else "num_cpus": self.needs.amount}
        options = {**count, "max_restarts": 0, "max_task_retries": 0}
        try:
            at_url = self._store if is_url(self._store) else ""
            host = self._ray.remote(Host).options(**options).remote(f"worker {number}", at_url)
        except Exception as error:  # Ray raises many kinds of errors here
            raise MachineProblem(f"a worker could not be placed: {shortly(error)}") from None
        try:
            node = await answer(host.__ray_call__.remote(_node))
            hello: Hello = (await answer(host.start.remote()))._replace(node=node)
            seen = not self._store or await answer(host.sees.remote(self._store))
        except (self._ray.exceptions.RayError, ConnectionError) as error:
            # if the node was lost meanwhile, another node may take the worker
            kind = MachineProblem if CREATION in str(error) else DiedAtStart
            raise kind(f"a worker could not be placed: {shortly(error)}") from None
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                self._ray.kill(host)
            raise
        if hello.version != __version__:
            self._ray.kill(host)
            raise MachineProblem(
                f"node {node} has batchscope {hello.version}, this machine has {__version__}: "
                "install the same on both"
            )
        if not seen:
            self._ray.kill(host)
            raise MachineProblem(
                f"node {node} cannot see the files at --checkpoints {printable(self._store)}: "
                "name a place that all nodes share"
            )
        return RayLink(self._ray, host, hello, self._folder, self._data_of, is_url(self._store))

    def _data_of(self, data: Prepared) -> Any:
        """Put the arrays into Ray's object store, once, and return their reference."""
        if data.digest not in self._data:
            self._data[data.digest] = self._ray.put(data_files(Path(data.folder)))
        return self._data[data.digest]

    def leave(self) -> None:
        """Disconnect from the cluster, and end it if it was started for this sweep."""
        with contextlib.suppress(Exception):
            self._ray.shutdown()


async def joined(on: str, folder: Path, terms: Terms) -> Cluster:
    """Call `join` in a thread, for at most `JOIN_SECONDS`.

    Raises:
        MachineProblem: as for `join`, or there was no answer in time.
    """
    try:
        return await asyncio.wait_for(asyncio.to_thread(join, on, folder, terms), JOIN_SECONDS)
    except TimeoutError:
        raise MachineProblem(f"--on {on}: no answer within {JOIN_SECONDS:g} s") from None


async def left(cluster: Cluster) -> None:
    """Call `leave` in a thread, for at most `LEAVE_SECONDS`."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.to_thread(cluster.leave), LEAVE_SECONDS)


def _node(host: Host) -> str:
    """Return the node's address and the start of its Ray id; called on the node."""
    import ray

    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return f"{address} ({ray.get_runtime_context().get_node_id()[:6]})"


def join(on: str, folder: Path, terms: Terms) -> Cluster:
    """Start Ray on this machine, or join a cluster that runs already.

    Args:
        on: the value of `--on`.
        folder: the sweep's folder.
        terms: the options of the sweep on a cluster.

    Raises:
        MachineProblem: Ray is not installed, cannot be reached, or has another version.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray makes every process of the cluster import from the folder where its driver started
    os.chdir(folder)
    sys.argv[0] = str(folder / "conductor")
    try:
        import ray
    except ImportError:
        raise MachineProblem(
            f"--on {on}: Ray is not installed; install it with pip install 'batchscope[ray]'"
        ) from None
    quiet: dict[str, Any] = {"logging_level": "ERROR"}
    if on == LOCAL:
        quiet |= {"num_cpus": cores(), "include_dashboard": False}
    if not on.startswith(CLIENT):
        quiet |= {"log_to_driver": False}
    try:
        ray.init(address={LOCAL: "local", AUTO: "auto"}.get(on, on), **quiet)
    except Exception as error:  # Ray raises many kinds of errors here
        raise MachineProblem(f"--on {on}: {shortly(error)}") from None
    return Cluster(ray, folder, terms)
