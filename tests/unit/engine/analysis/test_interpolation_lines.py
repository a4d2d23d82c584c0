"""Lines between two solutions as a preset asks for them, and which are left to draw."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from batchscope.engine.analysis import interpolation_lines
from batchscope.engine.analysis.time_estimate import box_seconds, trial_seconds
from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.preset import parse_preset
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.instrument_events import LinePoint
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import Interpolation
from tests.unit.training_fixtures import configuration, ended, opened, started

BASE: dict[str, Any] = {
    "title": "t",
    "seeds": 2,
    "data": {"name": "digits"},
    "model": {"name": "mlp"},
    "train": {"epochs": 1, "lr": 0.1},
    "grid": {"batch_size": [8, 64]},
}
ENDS = {"from": {"batch_size": 8}, "to": {"batch_size": 64}}
SMALL, LARGE = configuration(8, seeds=2), configuration(64, seeds=2)


def parsed(line: object, **more: Any) -> Interpolation | None:
    return parse_preset({**BASE, **more, "interpolation": line}, "mine", "x.toml").interpolation


def test_the_ends_are_picked_as_claims_pick() -> None:
    assert parsed(ENDS) == Interpolation(start="b8", end="b64")
    assert parsed({}) is None
    wide = parsed({**ENDS, "alpha": [0, 1], "points": 3, "samples": 50})
    assert wide == Interpolation(start="b8", end="b64", alpha=(0.0, 1.0), points=3, samples=50)
    assert wide.alphas == (0.0, 0.5, 1.0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (3, "interpolation: expected a table, written [interpolation]"),
        ({**ENDS, "point": 3}, "unknown key 'interpolation.point'; did you mean 'points'?"),
        ({"from": ENDS["from"]}, "interpolation.to: required"),
        ({**ENDS, "to": 3}, "interpolation.to: expected "),
        (
            {**ENDS, "to": {"batchsize": 8}},
            "interpolation.to: unknown key 'batchsize'; did you mean 'batch_size'?",
        ),
        (
            {**ENDS, "to": {"batch_size": 9}},
            "interpolation.to: no configuration has train.batch_size = 9",
        ),
        (
            {**ENDS, "to": {"lr": 0.1}},
            "interpolation.to: expected one configuration, but 2 match: '8', '64'",
        ),
        ({**ENDS, "to": ENDS["from"]}, "interpolation: from and to both match '8'"),
        ({**ENDS, "alpha": [1, 1]}, "interpolation.alpha: expected the lower end first, got [1, 1"),
        (
            {**ENDS, "alpha": 2},
            "interpolation.alpha: expected a list of 2, each a number (at least -1e+06 and at most "
            "1e+06), got 2",
        ),
        (
            {**ENDS, "points": 1},
            "interpolation.points: expected an integer (at least 2 and at most",
        ),
        ({**ENDS, "samples": 0}, "interpolation.samples: expected an integer (at least 2), got 0"),
    ],
)
def test_a_mistake_is_named(line: object, message: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        parsed(line)
    assert str(caught.value).startswith(f"x.toml: {message}")


def test_two_networks_have_no_line_between_them() -> None:
    cells = [{"batch_size": 8, "model": {"hidden": [5]}, "label": "wide"}]
    with pytest.raises(UsageProblem, match=r"'8.*' and 'wide' differ in \[model\]"):
        parsed({**ENDS, "from": {"label": "8"}, "to": {"label": "wide"}}, cells=cells)


def test_what_a_changed_grid_leaves_without_an_end_is_left_out_with_a_note() -> None:
    raw = {**BASE, "interpolation": ENDS, "grid": {"batch_size": [8, 32]}}
    preset = parse_preset(dict(raw), "mine", "x.toml", changed=True)
    assert preset.interpolation is None
    assert preset.raw["interpolation"] == {}
    assert preset.notes == (
        "no interpolation between final weights: interpolation.to: no configuration has "
        "train.batch_size = 64; the configurations are '8', '32'",
    )
    with pytest.raises(UsageProblem):
        parse_preset(dict(raw), "mine", "x.toml")


def asking() -> SweepState:
    first, *rest = opened([SMALL, LARGE])
    assert isinstance(first, ev.SweepOpened)
    line = Interpolation(start="b8", end="b64", points=2)
    return SweepState().fold([replace(first, interpolation=line), *rest])


def names(state: SweepState) -> list[tuple[str, str]]:
    return [(start.id, end.id) for start, end in interpolation_lines.left(state)]


def drawn(seed: int, loss: float | None) -> ev.Interpolated:
    points = (LinePoint(-1.0, 1.0, 0.5, loss, 0.5), LinePoint(2.0, 2.0, 0.5, 4.0, 0.25))
    return ev.Interpolated(start=f"b8-s{seed}", end=f"b64-s{seed}", points=points, samples=9)


def test_a_line_is_left_from_the_end_of_both_trials_until_it_is_drawn() -> None:
    state = asking()
    assert names(state) == []
    state.fold([started(SMALL), ended(SMALL), started(LARGE)])
    assert names(state) == []
    state.fold([ended(LARGE), started(LARGE, 1), ended(LARGE, 1)])
    assert names(state) == [("b8-s0", "b64-s0")]
    state.fold([drawn(0, 1.0), started(SMALL, 1), ended(SMALL, 1)])
    assert names(state) == [("b8-s1", "b64-s1")]
    state.fold([drawn(1, 3.0), drawn(1, 99.0)])  # what is known is not drawn anew
    assert names(state) == []
    curve = interpolation_lines.curve(state, "test_loss")
    assert [(p.alpha, p.mean, p.seeds) for p in curve] == [(-1.0, 2.0, 2), (2.0, 4.0, 2)]
    assert curve[0].deviation == pytest.approx(2**0.5)
    assert interpolation_lines.is_end(state, "b8-s1")
    assert not interpolation_lines.is_end(asking(), "b9-s0")


def test_a_loss_that_is_not_finite_is_left_out_at_its_point() -> None:
    state = asking().fold([drawn(0, None), drawn(1, 3.0)])
    curve = interpolation_lines.curve(state, "test_loss")
    assert [(p.alpha, p.mean, p.seeds) for p in curve] == [(-1.0, 3.0, 1), (2.0, 4.0, 2)]
    assert curve[0].deviation is None


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("diverged", "b64-s0 diverged"),
        ("failed", "b64-s0 failed"),
        ("skipped", "b64-s0 was skipped"),
    ],
)
def test_an_end_that_did_not_finish_is_told(status: ev.TrialStatus, told: str) -> None:
    state = asking().fold([started(SMALL), ended(SMALL), started(LARGE)])
    assert list(interpolation_lines.hindered(state)) == []
    state.fold([ended(LARGE, status=status)])
    assert names(state) == []
    assert list(interpolation_lines.hindered(state)) == [f"no line from b8-s0 to b64-s0: {told}"]


def test_one_that_was_given_up_is_not_left() -> None:
    state = asking().fold([started(SMALL), ended(SMALL), started(LARGE), ended(LARGE)])
    state.fold([ev.Interpolated(start="b8-s0", end="b64-s0", reason="no weights")])
    assert names(state) == []
    assert interpolation_lines.curve(state, "test_loss") == []
    assert "from b8-s0 to b64-s0" in state.log[-1].text
    assert state.log[-1].text.endswith("no weights")


def test_a_claim_names_the_box_that_sharpness_is_read_in() -> None:
    claim = {
        "statement": "s",
        "measure": "sharpness",
        "left": {"batch_size": 8},
        "relation": "less",
        "right": {"batch_size": 64},
    }
    boxes = {"sharpness": {"epsilon": [1e-3, 5e-4]}}

    def read(*, of: dict[str, Any], **more: Any) -> Callable[[], Any]:
        raw = {**BASE, **of, "claims": [{**claim, **more}]}
        return lambda: parse_preset(raw, "mine", "x.toml").claims[0].epsilon

    assert read(of=boxes)() is None
    assert read(of=boxes, epsilon=5e-4)() == 5e-4
    for wrong, told in (
        (read(of={}), "claims[0].measure: sharpness needs sharpness.epsilon"),
        (
            read(of=boxes, epsilon=1),
            "claims[0].epsilon: nothing is measured at 1.0; sharpness.epsilon",
        ),
        (read(of=boxes, epsilon=1e-3, measure="steps"), "claims[0].epsilon: belongs to sharpness"),
    ):
        with pytest.raises(UsageProblem) as caught:
            wrong()
        assert str(caught.value).startswith(f"x.toml: {told}")


def test_a_bare_key_names_what_it_did_before_sharpness_had_one_of_that_name() -> None:
    train = {"lr": 0.1}
    grid: dict[str, Any] = {"batch_size": [8], "samples": [100, 200]}
    raw = {**BASE, "train": train, "grid": grid, "sharpness": {"epsilon": [1e-3], "samples": 7}}
    found = [each.settings for each in parse_preset(raw, "mine", "x.toml").configurations]
    assert [each.train.samples for each in found] == [100, 200]
    assert [each.sharpness.samples for each in found] == [7, 7]
    grid = {"batch_size": [8], "epsilon": [[1e-3], [1e-2]]}
    found = [
        each.settings for each in parse_preset({**BASE, "grid": grid}, "m", "x.toml").configurations
    ]
    assert [each.sharpness.epsilon for each in found] == [(1e-3,), (1e-2,)]


def test_what_is_measured_at_the_end_is_expected_to_take_time() -> None:
    raw = {**BASE, "sharpness": {"epsilon": [1e-3, 5e-4]}}
    plain, sharp = (
        parse_preset(each, "m", "x.toml").configurations[0].settings for each in (BASE, raw)
    )
    more = trial_seconds(sharp) - trial_seconds(plain)
    assert more == pytest.approx(2 * box_seconds(sharp, 1437))
    longer = replace(sharp, sharpness=replace(sharp.sharpness, iterations=20))
    assert box_seconds(longer, 1437) == pytest.approx(2 * box_seconds(sharp, 1437))
