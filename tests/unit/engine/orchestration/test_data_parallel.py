"""Several workers on one trial: shares, plans and places. `test_leader` has the arithmetic."""

import os
import subprocess

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.engine.analysis.time_estimate import sweep_seconds, trial_seconds
from batchscope.engine.devices.devices import Device, with_children
from batchscope.engine.journal.events import MicroBatchesMeasured
from batchscope.engine.orchestration import dispatcher
from batchscope.engine.orchestration.dispatcher import bundled, crowded, places_for, team_of
from batchscope.engine.orchestration.planner import chosen
from batchscope.engine.planning.micro_batch import Shape
from batchscope.engine.planning.plan import (
    Plan,
    alike,
    largest_share,
    make_plan,
    most_at_once,
    of_one_worker,
    reusable,
    share_of,
    shares,
)
from batchscope.engine.planning.stacking import largest_stack
from batchscope.engine.spec import Configuration, Memory, Model
from tests.unit.engine.data_parallel_fixtures import over

CPU = Device("cpu", "a CPU")
WIDE = Model(name="mlp", hidden=(1000, 1000))
GPUS = [Device(f"cuda:{n}", "a card", f"GPU-{n}") for n in range(8)]


@given(st.integers(0, 10_000), st.integers(1, 64))
def test_shares_are_even_and_hold_the_batch(count: int, workers: int) -> None:
    sizes = shares(count, workers)
    assert sum(sizes) == count
    assert len(sizes) == workers
    assert max(sizes) - min(sizes) <= 1
    assert sizes[0] == max(sizes) == largest_share(count, workers)
    images = list(range(count))
    assert [i for rank in range(workers) for i in images[share_of(count, workers, rank)]] == images


@pytest.mark.parametrize(
    ("workers", "batch_size", "micro", "share", "micro_batch_size", "accumulation_steps", "reason"),
    [
        (4, 256, "auto", 64, 64, 1, "256 over 4 workers, 64 each; the whole share at once"),
        (4, 256, 16, 64, 16, 4, "256 over 4 workers, 64 each; 64 = 4 × 16, as the preset says"),
        (3, 256, 50, 86, 50, 2, "256 over 3 workers, at most 86 each; "
                                "86 = 1 × 50 + 36, as the preset says"),
        (4, 256, 100, 64, 64, 1, "256 over 4 workers, 64 each; the preset's micro-batch holds "
                                 "the whole share"),
        (4, 2, "auto", 1, 1, 1, "2 over 4 workers, at most 1 each; the whole share at once"),
    ],
)  # fmt: skip
def test_the_plan_divides_a_share_into_micro_batches(
    workers: int,
    batch_size: int,
    micro: object,
    share: int,
    micro_batch_size: int,
    accumulation_steps: int,
    reason: str,
) -> None:
    trial = over(workers, batch_size, memory=Memory(micro_batch_size=micro))  # type: ignore[arg-type]
    plan = make_plan(trial, 1437, threads=1)
    assert (plan.data_parallel, plan.batch_size, plan.share) == (workers, batch_size, share)
    assert (plan.micro_batch_size, plan.accumulation_steps) == (
        micro_batch_size,
        accumulation_steps,
    )
    assert plan.reason == reason
    alone = of_one_worker(plan)
    assert (alone.data_parallel, alone.batch_size, alone.largest) == (1, share, share)
    assert alone.accumulation_steps == accumulation_steps


def test_the_share_of_one_worker_is_measured() -> None:
    """One worker with 64 images and four with 256 use the same measurement."""
    four, one = over(4, 256).settings, over(1, 64).settings
    assert most_at_once(four, 1437) == most_at_once(one, 1437) == 64
    assert alike(four, 64) == alike(one, 64)
    whole = make_plan(over(4, 256), 1437, threads=1)
    found = MicroBatchesMeasured(
        trial="trial-s0",
        device="cpu",
        device_name="a CPU",
        batch_size=64,
        asked_bytes=None,
        limit_bytes=1 << 30,
        held_bytes=1 << 10,
        shapes=(Shape(32, 1 << 20, 3000.0, rounds=5), Shape(64, 2 << 20, 2000.0, rounds=5)),
        evaluation_batch_size=500,
        evaluation_peak_bytes=1 << 20,
        seconds=1.0,
    )
    plan = chosen(whole, found)
    assert (plan.batch_size, plan.micro_batch_size, plan.accumulation_steps) == (256, 32, 2)
    assert plan.reason == (
        "256 over 4 workers, 64 each; 64 = 2 × 32: 50 % faster than the whole share at once"
    )


def test_a_plan_is_for_a_number_of_workers() -> None:
    plans = [make_plan(over(workers), 1437, threads=1) for workers in (1, 2, 4)]
    found = reusable(plans, [over(2)], 1437)
    assert found is plans[1]
    assert reusable(plans, [over(3)], 1437) is None


def test_a_plan_of_an_older_journal_is_for_one_worker() -> None:
    said = msgspec.to_builtins(make_plan(over(1), 1437, threads=1))
    del said["data_parallel"]
    assert msgspec.convert(said, Plan).data_parallel == 1


def test_data_parallel_trials_are_never_stacked() -> None:
    assert largest_stack(over(1).settings) > 1
    assert largest_stack(over(2).settings) == 1


@pytest.mark.parametrize(
    ("cores", "parallel", "left", "asked", "alone", "workers", "threads"),
    [
        (8, 1, 3, None, False, 3, 2),
        (8, 2, 9, None, False, 4, 1),
        (8, 2, 2, None, False, 2, 2),
        (8, 2, 9, None, True, 1, 4),
        (8, 3, 9, None, False, 2, 1),
        (8, 4, 9, 1, False, 1, 2),
        (2, 4, 9, None, False, 1, 1),
    ],
)
def test_a_place_on_a_cpu_has_one_core_per_worker(
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    parallel: int,
    left: int,
    asked: int | None,
    alone: bool,
    workers: int,
    threads: int,
) -> None:
    monkeypatch.setattr(dispatcher, "cores", lambda: cores)
    places = places_for([CPU], left, asked, alone, parallel)
    assert len(places) == workers
    assert {place.threads for place in places} == {threads}
    assert {place.workers for place in places} == {workers * parallel}, "who share the memory"
    assert {place.team for place in places} == {(CPU,) * parallel if parallel > 1 else ()}
    assert not any(team_of(place).apart for place in places)


def names(devices: tuple[Device, ...]) -> str:
    return "".join(device.name[-1] for device in devices)


@pytest.mark.parametrize(
    ("cards", "parallel", "bundles"),
    [
        (8, 4, ["0123", "4567"]),
        (8, 3, ["012", "345"]),
        (4, 4, ["0123"]),
        (2, 4, ["0101"]),
        (1, 2, ["00"]),
        (2, 1, ["0", "1"]),
    ],
)
def test_a_place_on_gpus_is_a_bundle(cards: int, parallel: int, bundles: list[str]) -> None:
    assert [names(bundle) for bundle in bundled(GPUS[:cards], parallel)] == bundles
    places = places_for(GPUS[:cards], 100, None, False, parallel)
    assert [place.device.name[-1] for place in places] == [bundle[0] for bundle in bundles]
    shared = parallel > cards
    assert (crowded(GPUS[:cards], parallel) is not None) == shared
    for place in places if parallel > 1 else ():
        assert team_of(place).devices == tuple(device.name for device in place.team)
        assert team_of(place).apart is not shared, "nccl wants a card for each"
        assert place.workers == names(place.team).count(place.device.name[-1])
    assert len(places_for(GPUS[:cards], 100, None, True, parallel)) == 1
    assert len(places_for(GPUS[:cards], 1, None, False, parallel)) == 1


def test_workers_that_share_cores_bring_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "cores", lambda: 2)
    assert crowded([CPU], 2) is None
    warning = crowded([CPU], 4)
    assert warning is not None
    assert warning.startswith("run.data_parallel = 4 on 2 cores")


def test_the_memory_of_all_workers_is_counted() -> None:
    """The memory of all workers of a trial counts as memory of the sweep."""
    with subprocess.Popen(["sleep", "60"]) as child:
        assert set(with_children([os.getpid()])) >= {os.getpid(), child.pid}
        assert with_children([child.pid]) == [child.pid]
        child.kill()


def test_the_estimate_counts_shares_and_exchanges() -> None:
    """Training is divided, evaluation is not, and each step adds an exchange."""
    small = [trial_seconds(over(workers, 16).settings, 1437) for workers in (1, 2)]
    assert small[1] > small[0], "small steps take longer for it"
    wide = [
        trial_seconds(over(workers, 1024, model=WIDE).settings, 60_000) for workers in (1, 2, 4)
    ]
    assert wide[0] > wide[1] > wide[2] > wide[0] / 4
    each = Configuration(id="a", label="a", settings=over(4).settings, seeds=(0, 1, 2, 3))
    eight, four = sweep_seconds((each,), 8), sweep_seconds((each,), 4)
    assert eight - 5 == pytest.approx((four - 5) / 2), "two places with eight cores"
