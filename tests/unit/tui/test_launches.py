"""Starts go on and are told of when whoever waited for them is gone."""

import asyncio
import threading

import pytest

from batchscope.engine.errors import MachineProblem, Problem
from batchscope.tui.launches import Launches


async def test_a_result_and_a_problem_come_back() -> None:
    told: list[Problem] = []
    launches = Launches(told.append)
    assert await launches.run(lambda: 7) == 7

    def fail() -> None:
        raise MachineProblem("no room")

    with pytest.raises(MachineProblem, match="no room"):
        await launches.run(fail)
    assert launches.finish(0)
    assert told == [], "whoever waited has it"


@pytest.mark.parametrize("fails", [False, True])
async def test_a_start_goes_on_without_its_screen(fails: bool) -> None:
    told: list[Problem] = []
    launches, go, begun = Launches(told.append), threading.Event(), threading.Event()
    started: list[str] = []

    def start() -> None:
        begun.set()
        go.wait()
        if fails:
            raise MachineProblem("no room")
        started.append("it runs")

    waiting = asyncio.create_task(launches.run(start))
    await asyncio.to_thread(begun.wait)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not launches.finish(0)
    go.set()
    assert launches.finish()
    launches.close()
    assert started == ([] if fails else ["it runs"])
    assert [str(problem) for problem in told] == (["no room"] if fails else [])
