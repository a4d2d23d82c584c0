"""Which configurations of two sweeps match."""

from typing import Any

from msgspec.structs import replace

from batchscope.engine.analysis.matching import differing, match
from batchscope.engine.spec import Configuration, Memory, Model, Run, Scaling
from batchscope.engine.task_table import Argument, TaskTable
from tests.unit.engine.findings_fixtures import configuration


def sizes(*found: int, **settings: Any) -> list[Configuration]:
    return [configuration(size, **settings) for size in found]


def named(size: int, **settings: Any) -> Configuration:
    told = "-".join(str(value) for value in settings.values())
    return configuration(size, id=f"b{size}-{told}", **settings)


def pairs(a: list[Configuration], b: list[Configuration], *chosen: str) -> list[tuple[str, str]]:
    return [(one.id, other.id) for one, other in match(a, b, chosen).pairs]


def test_one_preset_twice_matches_throughout() -> None:
    a = [named(size, lr=lr) for size in (8, 64) for lr in (0.1, 0.2)]
    found = match(a, list(reversed(a)))
    assert [(one.id, other.id) for one, other in found.pairs] == [(x.id, x.id) for x in a]
    assert (found.only_a, found.only_b, found.unclear) == ([], [], {})
    assert found.keys == ("train.batch_size", "train.lr")


def test_what_changed_between_the_sweeps_is_no_reason_not_to_match() -> None:
    a, b = sizes(8, 64, 512), sizes(64, 512, 1024, optimizer="adam", lr=0.001)
    found = match(a, b)
    assert pairs(a, b) == [("b64", "b64"), ("b512", "b512")]
    assert [each.id for each in found.only_a] == ["b8"]
    assert [each.id for each in found.only_b] == ["b1024"]
    assert [(each.key, each.a, each.b) for each in differing(a, b)][-2:] == [
        ("train.lr", (0.1,), (0.001,)),
        ("train.optimizer", ("sgd",), ("adam",)),
    ]


def test_one_value_of_a_grid_is_found_in_it() -> None:
    a = [named(size, lr=lr) for size in (8, 64) for lr in (0.1, 0.2)]
    assert pairs(a, sizes(8, 64, lr=0.2)) == [("b8-0.2", "b8"), ("b64-0.2", "b64")]
    assert pairs(sizes(8, 64, lr=0.2), a) == [("b8", "b8-0.2"), ("b64", "b64-0.2")]


def test_rates_that_follow_the_batch_match_one_rate_for_all() -> None:
    a = [named(8, lr=0.1), named(64, lr=0.8)]
    assert pairs(a, sizes(8, 64)) == [("b8-0.1", "b8"), ("b64-0.8", "b64")]
    assert pairs(sizes(8, 64), a) == [("b8", "b8-0.1"), ("b64", "b64-0.8")]


def test_a_rate_of_a_grid_does_not_stand_in_for_another() -> None:
    a = [named(8, lr=lr) for lr in (0.1, 0.2)]
    b = [named(8, lr=lr) for lr in (0.2, 0.5)]
    found = match(a, b)
    assert pairs(a, b) == [("b8-0.2", "b8-0.2")]
    assert [x.id for x in (*found.only_a, *found.only_b)] == ["b8-0.1", "b8-0.5"]


def test_several_that_could_match_are_left_and_counted() -> None:
    a = [named(size, lr=lr) for size in (8, 64) for lr in (0.1, 0.2)]
    b = [named(8, lr=lr) for lr in (0.01, 0.02)] + [named(64, lr=0.2)]
    found = match(a, b)
    assert pairs(a, b) == [("b64-0.2", "b64-0.2")]
    assert found.unclear == {8: (2, 2)}


def test_other_networks_than_the_rate_do_not_stand_in_for_another() -> None:
    a = [named(8, optimizer=name) for name in ("sgd", "adam")]
    b = [named(8, optimizer=name) for name in ("adam", "rmsprop")]
    assert pairs(a, b) == [("b8-adam", "b8-adam")]


def test_what_was_chosen_tells_nothing_apart() -> None:
    a = [named(8, lr=0.1), named(64, lr=0.2)]
    b = [named(8, lr=0.2), named(64, lr=0.1)]
    wanted = [("b8-0.1", "b8-0.2"), ("b64-0.2", "b64-0.1")]
    assert pairs(a, b, "train.lr") == wanted
    # of rates that both know one would take another batch size's for a match, were they names
    assert match(a, b, ["train.lr"]).keys == ("train.batch_size",)


def test_a_default_written_out_is_the_same_setting() -> None:
    a = sizes(8, model=Model(name="mlp"))
    b = sizes(8, model=Model(name="mlp", hidden=(128, 64)))
    assert differing(a, b) == []
    assert len(match(a, b).pairs) == 1


def test_a_setting_that_is_never_read_makes_no_difference() -> None:
    a, b = sizes(8, momentum=0.5), sizes(8, momentum=0.9)
    assert differing(a, b) == []


def test_micro_batches_within_a_sweep_tell_apart() -> None:
    def cut(size: int) -> Configuration:
        of = configuration(64, id=f"m{size}")
        memory = Memory(micro_batch_size=size)
        return replace(of, settings=replace(of.settings, memory=memory))

    assert pairs([cut(8), cut(16)], [cut(16), cut(32)]) == [("m16", "m16")]


def test_the_rule_of_scaling_is_a_change_between_sweeps() -> None:
    of = configuration(64)
    scaling = Scaling(rule="linear", base_batch_size=32)
    scaled = replace(of, settings=replace(of.settings, scaling=scaling))
    (rule, base) = differing([of], [scaled])
    assert (rule.key, rule.a, rule.b) == ("scaling.rule", ("none",), ("linear",))
    assert (base.key, base.a, base.b) == ("scaling.base_batch_size", (None,), (32,))


def test_nothing_in_common() -> None:
    found = match(sizes(8), sizes(16))
    assert not found.pairs
    assert (len(found.only_a), len(found.only_b)) == (1, 1)


def test_keeping_weights_is_no_difference() -> None:
    (a,) = sizes(8)
    kept = replace(a, settings=replace(a.settings, run=Run(keep_weights=True)))
    assert pairs([a], [kept]) == [("b8", "b8")]
    assert list(differing([a], [kept])) == []


def with_task(size: int, **arguments: Argument) -> Configuration:
    of = configuration(size, id="-".join([f"b{size}", *map(str, arguments.values())]))
    task = TaskTable(use="mine:make", arguments=tuple(sorted(arguments.items())))
    return replace(of, settings=replace(of.settings, task=task))


def test_arguments_of_a_task_are_settings_like_others() -> None:
    wide, narrow = with_task(8, width=64), with_task(8, width=32)
    assert pairs([narrow, wide], [wide]) == [("b8-64", "b8-64")]
    (width,) = differing([narrow], [wide])
    assert (width.key, width.a, width.b) == ("task.width", (32,), (64,))
    assert [each.key for each in differing([wide], [with_task(8)])] == ["task.width"]
    keys = {each.key for each in differing(sizes(8), [wide])}
    assert {"task.use", "task.width"} <= keys
