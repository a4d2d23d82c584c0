"""Choosing a micro-batch size on simulated machines with any memory, speed and failures."""

import math
import re
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchscope.engine.formatting import shown_size
from batchscope.engine.planning.micro_batch import (
    FEWEST_ROUNDS,
    MicroBatchChoice,
    Shape,
    choose_micro_batch,
    expected_peak,
    fits,
    next_size,
    usable,
)

FUZZED = settings(max_examples=400, deadline=None)
MIB = 1 << 20


@dataclass(frozen=True)
class Machine:
    """Steps of `size` samples peak at `held` + max(`plateau`, `each` · size), `jump` from a size
    on; from `breaks` on memory runs out before anything is measured."""

    held: int
    each: float
    plateau: int = 0
    jump: tuple[int, int] = (1 << 60, 0)
    breaks: int = 1 << 60

    def peak(self, size: int) -> int:
        jump = self.jump[1] if size >= self.jump[0] else 0
        return self.held + max(self.plateau, math.ceil(self.each * size)) + jump

    def execute(self, size: int, pace: float = 1.0) -> Shape:
        if size >= self.breaks:
            return Shape(size, failed="out of memory")
        return Shape(size, self.peak(size), pace, rounds=FEWEST_ROUNDS)

    def probed(self, batch_size: int, limit: int) -> list[Shape]:
        """Every shape that is executed until nothing more is proposed."""
        tried: list[Shape] = []
        while size := next_size(batch_size, tried, limit, self.held):
            assert 1 <= size <= batch_size
            assert size not in [shape.micro_batch_size for shape in tried]
            tried.append(self.execute(size))
            assert len(tried) <= 4 * math.log2(batch_size) + 8, tried
        return tried


def machines() -> st.SearchStrategy[Machine]:
    return st.builds(
        Machine,
        held=st.integers(0, 1 << 34),
        each=st.floats(0, 1 << 24),
        plateau=st.integers(0, 1 << 30) | st.just(0),
        jump=st.tuples(st.integers(1, 1 << 13), st.integers(0, 1 << 30)),
        breaks=st.just(1 << 60) | st.integers(1, 1 << 13),
    )


BATCHES = st.integers(1, 20_000) | st.sampled_from([1, 2, 7, 8, 9, 1024, 4096])
LIMITS = st.integers(1, 1 << 35)


def chosen(batch_size: int, tried: list[Shape], limit: int, held: int = 0) -> MicroBatchChoice:
    found = choose_micro_batch(batch_size, tried, limit, held)
    assert found is not None
    return found


# ---- what is executed


@FUZZED
@given(machine=machines(), batch_size=BATCHES, limit=LIMITS)
@example(Machine(0, 0.0, jump=(11, 1 << 30)), 20_000, 1 << 20)
@example(Machine(0, 1.0, breaks=5000), 20_000, 1 << 30)
@example(Machine(0, 1.0, breaks=1), 1, 1)
def test_measuring_ends_and_repeats_no_size(machine: Machine, batch_size: int, limit: int) -> None:
    tried = machine.probed(batch_size, limit)
    assert tried
    if not any(fits(shape, limit) for shape in tried):
        assert min(shape.micro_batch_size for shape in tried) == 1


@FUZZED
@given(held=st.integers(0, 1 << 30), each=st.integers(0, 1 << 20), batch_size=BATCHES, limit=LIMITS)
def test_on_a_straight_line_the_largest_that_fits_is_found(
    held: int, each: int, batch_size: int, limit: int
) -> None:
    machine = Machine(held, each)
    fitting = [shape for shape in machine.probed(batch_size, limit) if fits(shape, limit)]
    if machine.peak(1) > usable(limit):
        assert fitting == []
        return
    truth = batch_size if not each else min(batch_size, (usable(limit) - held) // each)
    found = max(shape.micro_batch_size for shape in fitting)
    assert truth / 1.1 < found <= truth


@FUZZED
@given(machine=machines(), batch_size=BATCHES, limit=LIMITS)
def test_no_size_is_measured_that_is_predicted_not_to_fit(
    machine: Machine, batch_size: int, limit: int
) -> None:
    """But for one image, without which nobody could say that not even one fits."""
    tried = machine.probed(batch_size, limit)
    for count, shape in enumerate(tried):
        before = tried[:count]
        if sum(not one.failed for one in before) >= 2 and shape.micro_batch_size > 1:
            expected = expected_peak(shape.micro_batch_size, before, machine.held)
            assert expected <= usable(limit)


@pytest.mark.parametrize(
    ("machine", "batch_size", "limit", "sizes"),
    [
        (Machine(0, 1), 1, 100, [1]),
        (Machine(0, 1), 6, 100, [6]),
        (Machine(0, 1), 512, 10_000, [8, 32, 512, 128]),
        (Machine(0, 1), 512, 350, [8, 32, 128, 315, 256]),
        (Machine(0, 1), 96, 100, [8, 32, 90, 48]),
        (Machine(0, 1), 96, 6, [8, 4, 5]),
        (Machine(7, 1), 96, 8, [8, 1]),
        (Machine(0, 1, breaks=200), 512, 10_000, [8, 32, 512, 128, 320, 224, 176, 200, 171]),
        (Machine(0, 1, breaks=1), 512, 10_000, [8, 4, 2, 1]),
    ],
)
def test_measured_sizes(machine: Machine, batch_size: int, limit: int, sizes: list[int]) -> None:
    assert [shape.micro_batch_size for shape in machine.probed(batch_size, limit)] == sizes


def test_the_line_goes_through_the_measurements() -> None:
    tried = [Shape(10, 130), Shape(40, 400), Shape(20, 200), Shape(80, failed="out of memory")]
    for size, expected in [(0, 30), (5, 80), (10, 130), (15, 165), (20, 200), (30, 300), (50, 500)]:
        assert expected_peak(size, tried, held=30) == expected
    assert expected_peak(100, [], held=30) == 30
    assert expected_peak(100, [Shape(10, 50)], held=30) == 230


def test_the_prediction_never_decreases() -> None:
    assert expected_peak(100, [Shape(8, 60), Shape(32, 50)], held=30) == 50


# ---- what is chosen


@FUZZED
@given(
    machine=machines(),
    batch_size=BATCHES,
    limit=LIMITS,
    data=st.data(),
)
def test_the_choice_was_measured_fits_and_has_a_true_reason(
    machine: Machine, batch_size: int, limit: int, data: st.DataObject
) -> None:
    paces = st.floats(0.5, 2.0)
    sizes = [shape.micro_batch_size for shape in machine.probed(batch_size, limit)]
    whole_run = data.draw(st.booleans())
    if not whole_run:
        sizes = sizes[: data.draw(st.integers(1, len(sizes)))]
    tried = [machine.execute(size, data.draw(paces)) for size in sizes]
    tried = data.draw(st.permutations(tried))
    fitting = {shape.micro_batch_size: shape for shape in tried if fits(shape, limit)}
    found = choose_micro_batch(batch_size, tried, limit, machine.held)
    if not fitting:
        assert found is None
        return
    assert found is not None
    pick, largest = fitting[found.micro_batch_size], fitting[max(fitting)]
    assert pick.peak_bytes <= usable(limit) <= 0.9 * limit
    fastest = max(shape.samples_per_second for shape in fitting.values())
    if fastest >= 1.05 * largest.samples_per_second:
        assert pick.samples_per_second == fastest
    else:
        assert pick is largest
    if whole_run:
        assert "in the time for planning" not in found.reason
    check_the_reason(found, batch_size, tried, limit)


def check_the_reason(
    found: MicroBatchChoice, batch_size: int, tried: list[Shape], limit: int
) -> None:
    """Every number of the sentence follows from the shapes."""
    assert found.reason.isprintable()
    shapes = {shape.micro_batch_size: shape for shape in tried}
    pick = shapes[found.micro_batch_size]
    largest = shapes[max(size for size, shape in shapes.items() if fits(shape, limit))]
    if found.micro_batch_size == batch_size:
        room = f"{shown_size(pick.peak_bytes)} of {shown_size(usable(limit))} usable"
        assert found.reason == f"the whole batch at once: {room}"
        return
    cut, _, why = found.reason.partition(": ")
    check_the_cut(cut, batch_size, found.micro_batch_size)
    if match := re.fullmatch(r"([\d,]+) % faster than (.*)", why):
        assert pick is not largest
        gain = pick.samples_per_second / largest.samples_per_second - 1
        assert abs(number(match[1]) - 100 * gain) <= 0.5 + 1e-9
        assert named(match[2], batch_size) == largest.micro_batch_size
    elif match := re.fullmatch(r"(.*) ran out of memory", why):
        assert shapes[named(match[1], batch_size)].failed
    elif match := re.fullmatch(r"(.*) would need (.*), but only (.*) are usable", why):
        size = named(match[1], batch_size)
        assert largest.micro_batch_size < size <= batch_size
        assert match[2] != match[3]
        if size in shapes:
            assert shapes[size].peak_bytes > usable(limit)
    else:
        assert why == "the largest size measured within the time for planning"


def check_the_cut(cut: str, batch_size: int, micro: int) -> None:
    match = re.fullmatch(r"([\d,]+) = ([\d,]+) × ([\d,]+)(?: \+ ([\d,]+))?", cut)
    assert match is not None, cut
    total, count, size = (number(match[group]) for group in (1, 2, 3))
    tail = number(match[4]) if match[4] else 0
    assert (total, size) == (batch_size, micro)
    assert count * size + tail == batch_size
    assert 0 <= tail < size


def number(text: str) -> int:
    return int(text.replace(",", ""))


def named(words: str, batch_size: int) -> int:
    return batch_size if words == "the whole batch at once" else number(words)


@pytest.mark.parametrize(
    ("batch_size", "tried", "limit", "micro", "reason"),
    [
        (
            512,
            [Shape(128, 2 * MIB), Shape(512, 3 * MIB)],
            4 * MIB,
            512,
            "the whole batch at once: 3.00 MiB of 3.60 MiB usable",
        ),
        (
            512,
            [Shape(128, 2 * MIB), Shape(256, 4 * MIB)],
            4 * MIB,
            128,
            "512 = 4 × 128: 256 would need 4.00 MiB, but only 3.60 MiB are usable",
        ),
        (
            512,
            [Shape(100, 2 * MIB), Shape(300, failed="out of memory")],
            4 * MIB,
            100,
            "512 = 5 × 100 + 12: 300 ran out of memory",
        ),
        (
            512,
            [Shape(128, 2, 210.0, rounds=3), Shape(512, 3, 200.0, rounds=3)],
            1000,
            128,
            "512 = 4 × 128: 5 % faster than the whole batch at once",
        ),
        (
            512,
            [Shape(128, 2, 209.9, rounds=3), Shape(512, 3, 200.0, rounds=3)],
            1000,
            512,
            "the whole batch at once: 3 B of 900 B usable",
        ),
        (
            512,
            [Shape(128, 2, 999.0, rounds=3), Shape(512, 3, 200.0, rounds=2)],
            1000,
            512,
            "the whole batch at once: 3 B of 900 B usable",
        ),
        (
            2000,
            [Shape(8, 2, 5.0), Shape(32, 3, 10.0)],
            1000,
            32,
            "2,000 = 62 × 32 + 16: the largest size measured within the time for planning",
        ),
        (
            3000,
            [Shape(1000, 360_000_000), Shape(1001, 360_000_001)],
            400_000_000,
            1000,
            "3,000 = 3 × 1,000: 2,000 would need 360,001,000 bytes, but only 360,000,000 bytes "
            "are usable",
        ),
    ],
)
def test_choices(batch_size: int, tried: list[Shape], limit: int, micro: int, reason: str) -> None:
    assert chosen(batch_size, tried, limit) == MicroBatchChoice(micro, reason)


def test_sizes_that_do_not_divide_the_batch_are_measured() -> None:
    tried = Machine(0, 1).probed(512, 350)
    divides = [512 % shape.micro_batch_size == 0 for shape in tried]
    assert False in divides
    assert chosen(512, tried, 350).micro_batch_size == 315


def test_nothing_is_chosen_if_nothing_fits() -> None:
    assert choose_micro_batch(512, [], 1000, 0) is None
    assert choose_micro_batch(512, [Shape(1, 901)], 1000, 0) is None
    assert choose_micro_batch(512, [Shape(1, failed="out of memory")], 1000, 0) is None
    assert chosen(512, [Shape(1, 900)], 1000).micro_batch_size == 1
