"""Compare the speed of a training step with other training loops and the limits of the machine.

    python benchmarks/speed.py [--data-dir DIR] [--device cpu|cuda:0] [--quick]
                               [--only steps|instruments|stacks|roofline] [--rounds 5]
                               [--sizes 1,8,64]

It prints four tables:

- *Steps*: images per second of batchscope with all permanent instruments, compared with a loop that
  indexes a tensor, PyTorch's MNIST example (DataLoader) and Lightning.
- *Instruments*: the time of the same training with instruments divided by that without them.
- *Stacks*: the time of a step of 16 replicates divided by that of one replicate, as one stack and
  as one stack per core.
- *Roofline*: the shortest time that sgemm and memory allow, as a share of our time.

The loops run alternately in one process, with one torch thread each. Figures are medians over
rounds; ratios are taken within a round, with the smallest and the largest. A training is timed over
whole epochs of some of the images, without its first epoch, and evaluates one image. Without
`--data-dir` (torchvision's layout) the images are simulated: 60,000 in MNIST's shape. The benchmark
needs a quiet machine and about three quarters of an hour, or a minute with `--quick`, which only
shows that it works.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import NamedTuple

import ours
import torch
from contenders import contenders, plain
from interleaving import FEWEST_ROUNDS, Ratio, Times, geometric_mean, in_turn, judged, ratio, row
from roofline import Machine
from together import Together
from workload import NARROW, NETWORKS, SIZES, Stock, Work, stock_of

from batchscope.engine.devices.devices import cores
from batchscope.engine.planning.plan import Plan

INSTRUMENT_SIZES = (1, 8, 32, 128, 512, 4096)
STACK_SIZES = (1, 8, 32, 128)
QUICK_SIZES, QUICK_STEPS = (1, 128), 20
REPLICATES = 16
PILOT_STEPS = 4


class Effort(NamedTuple):
    """How long to measure: seconds per turn, rounds, seconds per case, seconds of planning."""

    turn: float
    rounds: int
    case: float
    planning: float
    only: tuple[int, ...] = ()
    quick: bool = False

    def sizes(self, asked: tuple[int, ...]) -> list[int]:
        """Return the batch sizes of a table; only those in `only`, if it is not empty."""
        return [size for size in asked if not self.only or size in self.only]

    def steps(self, work: Work) -> int:
        """Return the number of our steps that are timed."""
        return QUICK_STEPS if self.quick else ours.whole_periods(work)


FULL = Effort(turn=0.3, rounds=5, case=60.0, planning=1.0)
QUICK = Effort(turn=0.02, rounds=1, case=0.0, planning=0.1, only=QUICK_SIZES, quick=True)


def work_of(network: str, batch_size: int, stock: Stock, effort: Effort) -> Work:
    """Return as much work as the plain loop does in about one turn."""
    pilot = Work(network, batch_size, stock, per_epoch=PILOT_STEPS, epochs=1)
    if stock.size < PILOT_STEPS * batch_size:
        pilot = Work(network, batch_size, stock, per_epoch=1, epochs=PILOT_STEPS)
    return pilot.sized(plain(pilot) / pilot.steps, effort.turn)


def own_step(
    work: Work, plan: Plan, effort: Effort, change: ours.Change = ours.as_it_is
) -> Callable[[], float]:
    """Return the seconds of one step of batchscope."""
    return lambda: ours.train(work, plan, effort.steps(work), change)


# ---- steps


class Step(NamedTuple):
    """The seconds per step of every loop in every round, `ours` among them."""

    network: str
    batch_size: int
    seconds: Times

    @property
    def ours(self) -> float:
        """The median seconds of our step."""
        return median(self.seconds["ours"])

    def gain(self, other: str) -> Ratio:
        """Return how many times as many images per second we train as another loop."""
        return ratio(self.seconds[other], self.seconds["ours"])


def step_cases(stock: Stock, effort: Effort, only_ours: bool = False) -> Iterator[Step]:
    for network in NETWORKS:
        for size in effort.sizes(SIZES):
            torch.set_num_threads(1)
            work = work_of(network, size, stock, effort)
            plan = ours.plan_of(work, 1, effort.planning)
            turns = {"ours": own_step(work, plan, effort)}
            if not only_ours:
                for name, contender in contenders().items():
                    turns[name] = lambda run=contender, w=work: run(w) / w.steps  # type: ignore[misc]
            yield Step(network, size, in_turn(turns, effort.rounds, effort.case))


def show_steps(stock: Stock, effort: Effort) -> list[Step]:
    others = list(contenders())
    widths = [14, 5, 9, *[18] * len(others)]
    print("\nsteps: samples/s of ours, and how many times those of (min..max)")
    print(row(widths, ("network", "batch", "ours", *others)))
    cases = []
    for case in step_cases(stock, effort):
        cases.append(case)
        pace = f"{case.batch_size / case.ours:,.0f}"
        gains = map(case.gain, others)
        print(row(widths, (case.network, case.batch_size, pace, *gains)), flush=True)
    for network in NETWORKS:
        of = [case for case in cases if case.network == network]
        least = min(of, key=lambda case: case.gain("plain loop").value)
        gain = least.gain("plain loop")
        verdict = f"{network}: at least 1.0 x the plain loop; least {gain} at {least.batch_size}"
        print(judged(verdict, gain.value >= 1.0))
    small = [case for case in cases if case.network == NARROW and case.batch_size <= 512]
    mean = geometric_mean(case.gain("DataLoader").value for case in small)
    verdict = f"{NARROW}: at least 1.5 x DataLoader, geometric mean up to 512: {mean:.2f}"
    print(judged(verdict, mean >= 1.5))
    if stock.device.type == "cuda":
        of = [case for case in cases if case.network == "cnn" and case.batch_size <= 64]
        least_gain = min(case.gain("plain loop").value for case in of)
        verdict = f"cnn: at least 3 x the plain loop up to 64 on a GPU: {least_gain:.2f}"
        print(judged(verdict, least_gain >= 3))
    return cases


# ---- instruments


def show_instruments(stock: Stock, effort: Effort) -> None:
    widths = [14, 5, 10, 10, 22]
    print("\ninstruments: us a step with and without norms, travel and noise scale, and the ratio")
    print(row(widths, ("network", "batch", "with", "without", "with / without")))
    for network in NETWORKS:
        costs: dict[int, float] = {}
        for size in effort.sizes(INSTRUMENT_SIZES):
            work = work_of(network, size, stock, effort)
            plan = ours.plan_of(work, 1, effort.planning)
            on, off = (
                own_step(work, plan, effort),
                own_step(work, plan, effort, ours.remove_instruments),
            )
            times = in_turn({"on": on, "off": off}, effort.rounds, effort.case)
            cost = ratio(times["on"], times["off"])
            costs[size] = cost.value
            shown = [f"{1e6 * median(times[name]):.1f}" for name in ("on", "off")]
            interval = f"{cost.value:.3f} ({cost.low:.3f}..{cost.high:.3f})"
            print(row(widths, (network, size, *shown, interval)), flush=True)
        mean, worst = geometric_mean(costs.values()), max(costs, key=lambda size: costs[size])
        verdict = f"{network}: at most 1.03, geometric mean {mean:.3f}"
        print(judged(f"{verdict}, worst {costs[worst]:.3f} at {worst}", mean <= 1.03))


# ---- stacks


def show_stacks(stock: Stock, effort: Effort, data_dir: str | None) -> None:
    print(f"\nstacks: one step of {REPLICATES} replicates of {NARROW} over one step of one")
    widths = [34, 5, 10, 22, 22]
    print(row(widths, ("replicates", "batch", "us", "over ours alone", "over the plain loop")))
    verdicts, count = list[str](), cores()
    together = Together(count, data_dir) if stock.device.type == "cpu" and count > 1 else None
    for size in effort.sizes(STACK_SIZES):
        torch.set_num_threads(1)
        work = work_of(NARROW, size, stock, effort)
        turns: dict[str, Callable[[], float]] = {
            "alone": own_step(work, ours.plan_of(work, 1, effort.planning), effort),
            "plain": partial(_plain_step, work),
        }
        stacks = {f"{REPLICATES} as one, 1 thread": _stack(work, 1, effort)}
        if together is not None:
            stacks[f"{REPLICATES} as one, {count} threads"] = _stack(work, count, effort)
            part = ours.plan_of(work, 1, effort.planning, REPLICATES // count)
            name = f"{count} × {REPLICATES // count}, a thread each, at once"
            stacks[name] = _at_once(together, work, part, effort)
        torch.set_num_threads(1)
        times = in_turn({**turns, **stacks}, effort.rounds, effort.case)
        best = {"alone": math.inf, "plain": math.inf}
        for name in stacks:
            costs = {other: ratio(times[name], times[other]) for other in turns}
            best = {other: min(best[other], costs[other].value) for other in best}
            taken = f"{1e6 * median(times[name]):.0f}"
            print(row(widths, (name, size, taken, *costs.values())), flush=True)
        bar = stack_bar(size, stock.device)
        if bar:
            for other, rival in (("plain", "the plain loop"), ("alone", "ours alone")):
                text = f"at most {bar} x {rival} at {size}: {best[other]:.2f}"
                verdicts.append(judged(text, best[other] <= bar))
    if together is not None:
        together.end()
    print("\n".join(verdicts))


def _stack(work: Work, threads: int, effort: Effort) -> Callable[[], float]:
    """Return the seconds of a step of all replicates as one stack."""
    return own_step(work, ours.plan_of(work, threads, effort.planning, REPLICATES), effort)


def _at_once(together: Together, work: Work, plan: Plan, effort: Effort) -> Callable[[], float]:
    return lambda: together.train(work, plan, effort.steps(work))


def _plain_step(work: Work) -> float:
    torch.set_num_threads(1)
    return plain(work) / work.steps


def stack_bar(size: int, device: torch.device) -> int | None:
    """Return the bar of a stack's step in steps of one replicate; None without a bar."""
    if device.type == "cuda":
        return 2
    return 4 if size <= 8 else 6 if size <= 32 else None


# ---- roofline


def show_roofline(stock: Stock, effort: Effort, steps: list[Step]) -> None:
    print("\nroofline of the machine")
    if cores() > 1:
        torch.set_num_threads(cores())
        print(f"{cores()} threads: {Machine(stock.device)}")
    torch.set_num_threads(1)
    machine = Machine(stock.device)
    print(f"one thread: {machine}")
    widths = [14, 5, 10, 10, 6]
    print(row(widths, ("network", "batch", "bound, us", "ours, us", "share")))
    for case in steps or step_cases(stock, effort, only_ours=True):
        torch.set_num_threads(1)
        bound = machine.bound(case.network, case.batch_size)
        shown = (f"{1e6 * bound:.1f}", f"{1e6 * case.ours:.1f}", f"{bound / case.ours:.0%}")
        print(row(widths, (case.network, case.batch_size, *shown)), flush=True)


def machine_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {cores()} cores"
    return f"{cores()} cores, {torch.backends.cpu.get_cpu_capability()}"


def main() -> None:
    ask = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    ask.add_argument("--data-dir")
    ask.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    ask.add_argument("--quick", action="store_true")
    ask.add_argument("--only", choices=("steps", "instruments", "stacks", "roofline"))
    ask.add_argument("--rounds", type=int, default=FULL.rounds)
    ask.add_argument("--sizes", type=lambda word: tuple(map(int, word.split(","))))
    words = ask.parse_args()
    effort = QUICK if words.quick else FULL._replace(rounds=max(FEWEST_ROUNDS, words.rounds))
    effort = effort._replace(only=words.sizes or effort.only)
    torch.set_num_threads(1)
    stock = stock_of(words.data_dir, words.device)
    print(f"torch {torch.__version__}, {machine_name(words.device)}, {stock.size:,} images")
    steps: list[Step] = []
    if words.only in (None, "steps"):
        steps = show_steps(stock, effort)
    if words.only in (None, "instruments"):
        show_instruments(stock, effort)
    if words.only in (None, "stacks"):
        show_stacks(stock, effort, words.data_dir)
    if words.only in (None, "roofline"):
        show_roofline(stock, effort, steps)


if __name__ == "__main__":
    main()
