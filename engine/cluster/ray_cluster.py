"""Joins a Ray cluster, and has workers placed on it."""

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
"""Ray ends a process that has not heard from the cluster's head for a minute."""
CREATION = "creation task"
"""What Ray says where an actor could not even be made."""


class Needs(NamedTuple):
    """What a worker asks of a node: an `amount` of its GPUs, a share of one perhaps, or CPUs."""

    resource: str
    amount: float

    @property
    def told(self) -> str:
        """In words."""
        one = self.amount == 1
        return f"{self.amount:g} {self.resource}{'' if one or self.resource == GPU else 's'}"

    def room(self, has: float) -> int:
        """How many workers a node has room for: whole ones, and no part reaches over two cards."""
        if self.amount > 1:
            return int(has / self.amount)
        return int(has) * int(1 / self.amount + 1e-9)


class Terms(NamedTuple):
    """How a sweep wants its workers: where checkpoints go (`store`), which part of a GPU each asks
    for, on what `device`, and how many train one trial together."""

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
        # those who train one trial together share a node, and a card of it has one of them
        each = (terms.gpu_share if on_gpu and terms.parallel == 1 else 1) * terms.parallel
        self.needs = Needs(GPU if on_gpu else CPU, each)

    def slots(self) -> int:
        """How many workers the cluster has room for, as it is now, busy ones counted."""
        return sum(map(self.needs.room, self._each_node(self.needs.resource)))

    def _total(self, resource: str) -> float:
        return sum(self._each_node(resource))

    def _each_node(self, resource: str) -> list[float]:
        """How much each node has of something."""
        try:
            nodes = self._ray.nodes()
        except Exception as error:  # whatever Ray raises, it does not answer any more
            raise MachineProblem(f"the cluster is gone: {shortly(error)}") from None
        return [float(node["Resources"].get(resource, 0.0)) for node in nodes if node["Alive"]]

    async def start(self, number: int) -> RayLink:
        """Have a worker started wherever there is room, which may take until there is.

        Raises:
            MachineProblem: a node cannot have one, for a reason that waiting does not mend.
        """
        count = {"num_gpus" if self.needs.resource == GPU else "num_cpus": self.needs.amount}
        options = {**count, "max_restarts": 0, "max_task_retries": 0}
        try:
            at_url = self._store if is_url(self._store) else ""
            host = self._ray.remote(Host).options(**options).remote(f"worker {number}", at_url)
        except Exception as error:  # whatever Ray raises, nothing was placed
            raise MachineProblem(f"no worker could be placed: {shortly(error)}") from None
        try:
            node = await answer(host.__ray_call__.remote(_node))
            hello: Hello = (await answer(host.start.remote()))._replace(node=node)
            seen = not self._store or await answer(host.sees.remote(self._store))
        except (self._ray.exceptions.RayError, ConnectionError) as error:
            # where its node went meanwhile, another may have it
            kind = MachineProblem if CREATION in str(error) else DiedAtStart
            raise kind(f"no worker could be placed: {shortly(error)}") from None
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
                f"node {node} does not see what lies at --checkpoints {printable(self._store)}: "
                "name a place that all nodes share"
            )
        return RayLink(self._ray, host, hello, self._folder, self._data_of, is_url(self._store))

    def _data_of(self, data: Prepared) -> Any:
        """The arrays, put where every node can fetch them once."""
        if data.digest not in self._data:
            self._data[data.digest] = self._ray.put(data_files(Path(data.folder)))
        return self._data[data.digest]

    def leave(self) -> None:
        """End what runs for this sweep; a cluster that was started for it ends too."""
        with contextlib.suppress(Exception):
            self._ray.shutdown()


async def joined(on: str, folder: Path, terms: Terms) -> Cluster:
    """`join`, in a thread and not for ever.

    Raises:
        MachineProblem: as `join`, or nobody answers in time.
    """
    try:
        return await asyncio.wait_for(asyncio.to_thread(join, on, folder, terms), JOIN_SECONDS)
    except TimeoutError:
        raise MachineProblem(f"--on {on}: no answer within {JOIN_SECONDS:g} s") from None


async def left(cluster: Cluster) -> None:
    """`leave`, in a thread and not for ever: one that does not answer is left all the same."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.to_thread(cluster.leave), LEAVE_SECONDS)


def _node(host: Host) -> str:
    """Called on a node: its address, and enough of Ray's id to tell two of one address apart."""
    import ray

    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return f"{address} ({ray.get_runtime_context().get_node_id()[:6]})"


def join(on: str, folder: Path, terms: Terms) -> Cluster:
    """Start Ray on this machine, or join what runs already.

    Raises:
        MachineProblem: Ray is missing, cannot be reached, or is of another version.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray has every process of the cluster import from where its driver was started
    os.chdir(folder)
    sys.argv[0] = str(folder / "conductor")
    try:
        import ray
    except ImportError:
        raise MachineProblem(f"--on {on}: needs Ray: pip install 'batchscope[ray]'") from None
    quiet: dict[str, Any] = {"logging_level": "ERROR"}
    if on == LOCAL:
        quiet |= {"num_cpus": cores(), "include_dashboard": False}
    if not on.startswith(CLIENT):
        quiet |= {"log_to_driver": False}
    try:
        ray.init(address={LOCAL: "local", AUTO: "auto"}.get(on, on), **quiet)
    except Exception as error:  # whatever Ray raises, the person wants to know that and why
        raise MachineProblem(f"--on {on}: {shortly(error)}") from None
    return Cluster(ray, folder, terms)
