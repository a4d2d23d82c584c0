"""What a task turns out not to have is said before the first step, with key and nearest name."""

from typing import Any

import msgspec
import pytest

from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.preset import parse_preset
from batchscope.engine.experiment.task_facts_check import refuse_unknown
from batchscope.engine.task_table import TaskFacts

FACTS = TaskFacts(
    train=100,
    test=20,
    metrics=(("mae", "lower"), ("accuracy", "higher")),
    layers=("body.0", "body.2"),
)
CLAIM = {"statement": "s", "relation": "less", "value": 1.0}


def preset(**more: Any) -> Any:
    raw = {
        "title": "t",
        "task": {"use": "mine:make"},
        "train": {"batch_size": 8, "lr": 0.1, "epochs": 2, **more.pop("train", {})},
        **more,
    }
    return parse_preset(raw, "mine", "mine.toml")


def refusal(facts: TaskFacts = FACTS, **more: Any) -> str:
    found = preset(**more)
    with pytest.raises(UsageProblem) as caught:
        refuse_unknown(found, found.configurations[0].settings.data.name, facts)
    return str(caught.value)


WRONG: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"train": {"target_metric": "maee", "target_value": 1.0}}, ("train.target_metric", "'mae'")),
    (
        {"select": {"lr": [0.1, 0.2], "by": "validation_mea"}},
        ("select.by", "'validation_mae'"),
    ),
    ({"claims": [{**CLAIM, "measure": "test_mse"}]}, ("claims[0].measure", "test_mae")),
    (
        {"claims": [{**CLAIM, "measure": "layer_norm_mean", "layer": "body.1"}]},
        ("claims[0].layer", "'body.", "body.1"),
    ),
]


@pytest.mark.parametrize(("more", "words"), WRONG)
def test_an_unknown_name_is_refused_with_the_nearest(
    more: dict[str, Any], words: tuple[str, ...]
) -> None:
    told = refusal(**more)
    assert told.startswith("mine: ")
    for word in words:
        assert word in told


RIGHT: list[dict[str, Any]] = [
    {},
    {"train": {"target_metric": "mae", "target_value": -3.0}},
    {"train": {"target_accuracy": 0.5}},
    {"train": {"target_loss": 0.5}},
    {"select": {"lr": [0.1, 0.2], "by": "validation_mae"}},
    {"select": {"lr": [0.1, 0.2], "by": "validation_loss"}},
    {"select": {"lr": [0.1, 0.2], "by": "steps_to_target"}, "train": {"target_loss": 0.5}},
    {"claims": [{**CLAIM, "measure": "test_mae"}, {**CLAIM, "measure": "grad_norm_mean"}]},
    {"claims": [{**CLAIM, "measure": "layer_norm_share", "layer": "body.2"}]},
]


@pytest.mark.parametrize("more", RIGHT)
def test_what_the_task_has_is_accepted(more: dict[str, Any]) -> None:
    found = preset(**more)
    refuse_unknown(found, found.configurations[0].settings.data.name, FACTS)


def test_a_target_needs_data_to_compare_it_on() -> None:
    alone = TaskFacts(train=100, metrics=FACTS.metrics)
    target = {"target_metric": "mae", "target_value": 1.0}
    assert "set task.validation" in refusal(alone, train=target)
    held = preset(train=target, task={"use": "mine:make", "validation": 0.2})
    refuse_unknown(held, "mine:make", alone)


def test_selecting_without_any_accuracy_names_what_there_is() -> None:
    told = refusal(TaskFacts(train=100, metrics=(("mae", "lower"),)), select={"lr": [0.1, 0.2]})
    assert "select.by" in told
    assert "validation_loss" in told or "validation_mae" in told


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"target_metric": "mae"}, "train.target_value: required"),
    ({"target_value": 1.0}, "train.target_metric: required"),
    ({"target_metric": "mae", "target_value": 1.0, "target_loss": 1.0}, "expected one target"),
    ({"target_metric": "a b", "target_value": 1.0}, "train.target_metric: expected the name"),
    ({"target_metric": "mae", "target_value": "low"}, "train.target_value: expected a number"),
]


@pytest.mark.parametrize(("train", "told"), MISTAKES)
def test_half_a_target_is_refused_when_the_preset_is_read(train: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        preset(train=train)
    assert str(caught.value).startswith("mine.toml: ")
    assert told in str(caught.value)


@pytest.mark.parametrize("measure", ["bias", "net_variance"])
def test_bias_and_variance_need_classes(measure: str) -> None:
    claims = [{**CLAIM, "measure": measure}]
    told = refusal(claims=claims)
    assert f"claims[0].measure: {measure} needs the class" in told
    assert "scores=" in told
    classifying = msgspec.structs.replace(FACTS, classes=10)
    refuse_unknown(preset(claims=claims), "mine:make", classifying)
    assert "test=" in refusal(msgspec.structs.replace(classifying, test=0), claims=claims)
