"""Run the same training in several processes at once, like the workers on a CPU."""

import dataclasses
import multiprocessing
from multiprocessing.connection import Connection

import ours
import torch
from workload import Work, stock_of

from batchscope.engine.planning.plan import Plan


class Together:
    """Processes with one thread each, and each with its own images."""

    def __init__(self, count: int, data_dir: str | None) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipes = list[Connection]()
        self._processes = []
        for _ in range(count):
            here, there = spawn.Pipe()
            process = spawn.Process(target=_serve, args=(there, data_dir), daemon=True)
            process.start()
            self._pipes.append(here)
            self._processes.append(process)

    def train(self, work: Work, plan: Plan, steps: int) -> float:
        """Train in all processes at once; return the seconds per step of the slowest."""
        task = dataclasses.replace(work, stock=None), plan, steps  # type: ignore[arg-type]
        for pipe in self._pipes:
            pipe.send(task)
        seconds: list[float] = [pipe.recv() for pipe in self._pipes]
        return max(seconds)

    def end(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.terminate()


def _serve(pipe: Connection, data_dir: str | None) -> None:
    torch.set_num_threads(1)
    stock = stock_of(data_dir, torch.device("cpu"))
    while True:
        work, plan, steps = pipe.recv()
        pipe.send(ours.train(dataclasses.replace(work, stock=stock), plan, steps))
