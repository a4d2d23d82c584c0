"""A Ray head on this machine, and nodes that can be added and killed."""

import contextlib
import socket
from typing import Any

HEALTH = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Nodes:
    """A head without CPUs, and nodes that can be added and killed."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.client_port = free_port()
        head: dict[str, Any] = {
            "num_cpus": 0,
            "include_dashboard": False,
            "ray_client_server_port": self.client_port,
            "_system_config": HEALTH,
        }
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)

    @property
    def address(self) -> str:
        address: str = self._cluster.address
        return address

    def add(self, cpus: int = 1) -> Any:
        return self._cluster.add_node(num_cpus=cpus)

    def kill(self, node: Any) -> None:
        """Kill every process of a node."""
        self._cluster.remove_node(node, allow_graceful=False)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._cluster.shutdown()
