"""A report lists the shared settings, the varied settings and how the trials ended."""

from typing import Any

from msgspec.structs import replace

from batchscope.engine.export.report.content import _ended, _facts
from batchscope.engine.export.report.settings import MOST_VALUES, experiment
from batchscope.engine.journal.events import TrialStatus
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import Configuration, Model, Phase, Probe
from tests.unit.training_fixtures import configuration, ended, opened, started, worker


def told(*configurations: Configuration) -> dict[str, str]:
    return dict(experiment(SweepState().fold(opened(configurations))))


def test_what_varies_comes_first_and_the_rest_once() -> None:
    made = [configuration(8, lr=0.1), configuration(64, lr=0.2), configuration(512, lr=0.1)]
    found = told(*made)
    assert list(found)[:2] == ["train.batch_size", "train.lr"]
    assert found["train.batch_size"] == "varied: 8, 64, 512"
    assert found["train.lr"] == "varied: 0.1, 0.2"
    assert found["train.epochs"] == "4"
    assert found["train.optimizer"] == '"sgd"'
    assert found["model.hidden"] == "[]"
    assert found["model.init"] == '"default"'
    assert found["data.validation"] == "0.0"
    assert found["scaling.warmup_epochs"] == "0.0"


def test_what_is_not_read_or_not_given_is_left_out() -> None:
    found = told(configuration(8))
    for key in ("train.seconds", "train.target_checks", "probe.draws", "sharpness.samples"):
        assert key not in found
    assert "phases" not in found
    assert told(configuration(8, probe=Probe(at=(0.5,))))["probe.draws"] == "1000"


def test_a_network_has_the_layers_that_it_was_built_with() -> None:
    assert told(configuration(8, model=Model(name="mlp")))["model.hidden"] == "[128, 64]"


def test_a_setting_that_only_some_have_is_listed_as_varied() -> None:
    one, other = configuration(8), configuration(64)
    phased = replace(other, settings=replace(other.settings, phases=(Phase(at=0.5, lr=0.01),)))
    assert told(one, phased)["phases"] == "varied: [], [{at = 0.5, lr = 0.01}]"


def test_of_many_values_some_are_shown_and_the_rest_counted() -> None:
    found = told(*(configuration(size) for size in range(1, MOST_VALUES + 4)))
    assert found["train.batch_size"].endswith(f", {MOST_VALUES} and 3 more")


def test_the_state_counts_every_way_to_be_lost() -> None:
    of = configuration(8, seeds=3)
    events = [*opened([of]), worker(0)]
    ways: tuple[TrialStatus, ...] = ("finished", "diverged", "diverged")
    for seed, how in enumerate(ways):
        events += [started(of, seed), ended(of, seed, status=how)]
    state = SweepState().fold(events)
    assert _ended({"finished": 1, "trials": 3}, state) == "1 of 3 trials finished, 2 diverged"


def test_the_machine_has_its_devices_and_workers() -> None:
    manifest = {
        "data": {}, "preset": "p", "sweep": "s", "state": "finished", "finished": 0, "trials": 0,
        "seeds": [0], "started": None, "ended": None, "source": "", "versions": {},
    }  # fmt: skip
    state = SweepState().fold([*opened([configuration(8)]), worker(0), worker(1)])
    facts = dict(_facts(manifest, state))
    assert list(facts) == ["Sweep", "Experiment", "Machine"]
    assert facts["Machine"] == (("devices", "cpu"), ("workers", "2"))


def test_the_checks_of_a_target_are_listed_whichever_keys_state_it() -> None:
    of = configuration(8)
    targets: tuple[tuple[dict[str, Any], str], ...] = (
        ({"target_accuracy": 0.9}, '"accuracy"'),
        ({"target_metric": "mae", "target_value": 0.4}, '"mae"'),
    )
    for target, metric in targets:
        train = replace(of.settings.train, **target)
        found = told(replace(of, settings=replace(of.settings, train=train)))
        assert found["train.target_checks"] == "1"
        assert found["train.target_metric"] == metric
