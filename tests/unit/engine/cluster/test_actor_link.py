"""Why a worker on a node is lost: only a lost node is not the fault of its trial."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from batchscope.engine.cluster.actor import Hello
from batchscope.engine.cluster.actor_link import RayLink, shortly
from batchscope.engine.orchestration.crew import WorkerHandle
from batchscope.engine.processes import orders
from batchscope.engine.processes.link import GONE

DIED = "The actor died unexpectedly before finishing this task.\n\tclass_name: Host\n"
NODE = DIED + "The actor died because its node has died. Node Id: 365bb8"
UNREACHED = "The actor b13c is unavailable: The actor is temporarily unavailable: RpcError"
MEMORY = "Task was killed due to the node running low on memory. Memory on the node was 30GB"


class RayError(Exception):
    """Stands for Ray's own error."""


class FakeRay:
    """The parts of Ray that a link uses."""

    class exceptions:
        RayError = RayError

    def kill(self, actor: object) -> None:
        """Do nothing."""


class Failing:
    """An actor whose methods all fail with the same error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        error = self._error

        class Method:
            @staticmethod
            def remote(*_: object) -> Any:
                return Reference(error)

        return Method


class Reference:
    """A result that never comes."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def future(self) -> Any:
        from concurrent.futures import Future

        made = Future[object]()
        made.set_exception(self._error)
        return made


def link_that(fails: Exception) -> RayLink:
    ray: Any = FakeRay()
    hello = Hello("10.0.0.7 (365bb8)", "0.1.0", "3.11", "/there")
    return RayLink(ray, Failing(fails), hello, Path("/here"), lambda data: None, False)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (RayError(NODE), "node 10.0.0.7 (365bb8) is gone: Ray says that it has died"),
        (RayError(UNREACHED), "node 10.0.0.7 (365bb8) is gone: The actor b13c is unavailable"),
        (ConnectionError("reset"), "node 10.0.0.7 (365bb8) is gone: reset"),
        (RayError(MEMORY), ""),
        (RayError("OSError: [Errno 28] No space left on device"), ""),
    ],
)
async def test_only_a_lost_node_is_a_fault_of_the_place(error: Exception, fault: str) -> None:
    link = link_that(error)
    member = WorkerHandle(link, 0, "cpu", 60.0)
    assert await member.next_event() is None
    said = await member.last_words()
    assert member.fault.startswith(fault)
    assert bool(member.fault) == bool(fault)
    assert shortly(error) in said


async def test_a_worker_that_we_killed_has_no_other_reason() -> None:
    link = link_that(RayError(NODE))
    link.kill()
    assert await link.receive() == b""
    assert link.fault == ""
    assert await link.last_lines() == []
    await asyncio.sleep(0)


class Unconnected:
    """An actor whose Ray client has lost its connection."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        def refuse(*_: object) -> Any:
            raise self._error

        return type("Method", (), {"remote": staticmethod(refuse)})


def unconnected(error: Exception) -> RayLink:
    ray: Any = FakeRay()
    hello = Hello("10.0.0.7 (365bb8)", "0.1.0", "3.11", "/there")
    return RayLink(ray, Unconnected(error), hello, Path("/here"), lambda data: None, False)


async def test_a_lost_client_server_means_a_lost_worker() -> None:
    link = unconnected(Exception("Ray Client is not connected. Please connect"))
    await link.send(orders.Halt())
    link.close()
    assert await link.receive() == b""
    assert await link.wait() == GONE
    link.kill()
    assert link.fault == "node 10.0.0.7 (365bb8) is gone: Ray Client is not connected"


async def test_a_programming_error_is_not_a_lost_node() -> None:
    with pytest.raises(TypeError):
        await unconnected(TypeError("cannot pickle")).receive()


def test_the_reason_of_a_grpc_error_is_its_details() -> None:
    text = 'status = StatusCode.NOT_FOUND\n\tdetails = "No session"\n\tdebug_error_string = "x"'
    assert shortly(ConnectionError(f"<_InactiveRpcError of RPC:\n\t{text}>")) == "No session"
