"""The queue adds the fresh seeds of a choice once, wherever the conductor was killed."""

from pathlib import Path
from typing import Any

import msgspec

from batchscope.engine.experiment.preset import parse_preset
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.orchestration.journal_writer import JournalWriter
from batchscope.engine.orchestration.trial_queue import TrialQueue
from batchscope.engine.planning.plan import for_members, make_plan
from batchscope.engine.spec import trials_of
from batchscope.engine.sweeps.add_batch_size import added, with_batch_size
from tests.unit.engine.conductor_fixtures import DATA, RAW, House
from tests.unit.engine.findings_fixtures import record, started

TUNED: dict[str, Any] = {
    **RAW,
    "data": {"name": "digits", "validation": 0.2},
    "train": {"epochs": 1},
    "cells": [{"batch_size": 8, "lr": 0.3}],
    "select": {"lr": [0.1, 0.2], "seeds_after": 2},
}
CANDIDATES = [f"b{size}-lr{lr}-s{seed}" for size in (8, 64) for lr in (0.1, 0.2) for seed in (0, 1)]
FREE = ["b8-lr0.3-s2", "b8-lr0.3-s3"]
FRESH = [f"b{size}-chosen-s{seed}" for size in (8, 64) for seed in (2, 3)]


def work(ledger: JournalWriter, queue: TrialQueue, most: int = 100) -> list[str]:
    """Train trial after trial as a worker does; a larger rate is better on held-out images."""
    trained: list[str] = []
    while queue and len(trained) < most:
        group = queue.take()
        assert group is not None
        (trial,) = group.trials
        of = ledger.state.configurations[trial.configuration]
        ledger.heard(started(trial.id, of))
        held = {"validation_accuracy": of.settings.train.lr, "validation_loss": 0.5}
        ledger.heard(ev.EpochsFinished(trial=trial.id, attempt=1, records=(record(0.5, **held),)))
        ledger.heard(ev.TrialEnded(trial=trial.id, attempt=1, status="finished"))
        queue.give_back(group)
        queue.confirm_choices()
        trained.append(trial.id)
    return trained


def test_the_fresh_seeds_follow_the_last_candidate_of_their_group(tmp_path: Path) -> None:
    house = House(tmp_path, TUNED)
    assert len(house.ledger.state.trials) == len(CANDIDATES) + len(FREE)
    trained = work(house.ledger, house.queue)
    house.ledger.close()
    assert sorted(trained) == sorted([*CANDIDATES, *FREE, *FRESH])
    for size in (8, 64):
        last = max(trained.index(name) for name in CANDIDATES if name.startswith(f"b{size}-"))
        assert trained.index(f"b{size}-chosen-s2") > last
    chosen = house.ledger.state.configurations["b64-chosen"]
    assert (chosen.confirms, chosen.settings.train.lr) == ("b64-lr0.2", 0.2)


def test_a_conductor_killed_anywhere_adds_them_once(tmp_path: Path) -> None:
    """Every prefix of the journal is continued; the whole ends with the same trials each time."""
    whole = House(tmp_path, TUNED)
    work(whole.ledger, whole.queue)
    whole.ledger.close()
    expected = set(whole.ledger.state.trials)
    lines = (tmp_path / journal.NAME).read_bytes().splitlines(keepends=True)
    assert sum(b'"kind":"added"' in line for line in lines) == 2
    preset = parse_preset(TUNED, "made-up", "made-up.toml")
    for cut in range(3, len(lines) + 1):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / journal.NAME).write_bytes(b"".join(lines[:cut]))
        ledger = JournalWriter(folder)
        ledger.write(ev.ConductorStarted(pid=2, machine={}))
        queue = TrialQueue(preset, ledger)
        queue.confirm_choices()
        queue.fill(DATA)
        work(ledger, queue)
        ledger.close()
        events = journal.Reader(folder / journal.NAME).read_all()
        new = [
            c.id for e in events if isinstance(e, ev.ConfigurationsAdded) for c in e.configurations
        ]
        assert sorted(new) == ["b64-chosen", "b8-chosen"], cut
        assert set(ledger.state.trials) == expected, cut
        assert {trial.status for trial in ledger.state.trials.values()} == {"finished"}, cut


def test_a_batch_size_that_is_added_gets_its_own_choice(tmp_path: Path) -> None:
    house = House(tmp_path, TUNED)
    work(house.ledger, house.queue)
    after = with_batch_size(TUNED, 32, house.ledger.state)
    new = added(after, set(house.ledger.state.configurations))
    assert [each.id for each in new] == ["b32-lr0.1", "b32-lr0.2"]
    house.ledger.write(ev.ConfigurationsAdded(configurations=new))
    house.queue.preset = after
    house.queue.line_up()
    trained = work(house.ledger, house.queue)
    house.ledger.close()
    assert trained[-2:] == ["b32-chosen-s2", "b32-chosen-s3"]
    assert len(trained) == 4 + 2


def test_a_recorded_plan_is_used_for_the_fresh_seeds_too(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first = House(tmp_path / "one", TUNED)
    work(first.ledger, first.queue)
    first.ledger.close()
    trial, _ = trials_of(first.ledger.state.configurations["b8-chosen"])
    plan = for_members(make_plan(trial, 1150, 1), [trial])
    raw = {**TUNED, "plan": [msgspec.to_builtins(plan)]}
    again = House(tmp_path / "two", raw)
    work(again.ledger, again.queue)
    again.ledger.close()
    assert again.ledger.state.plans["b8-chosen-s2"] == plan
    assert "b8-chosen-s3" not in again.ledger.state.plans


def test_settings_beyond_the_training_set_are_warned_of_once(tmp_path: Path) -> None:
    raw = {**TUNED, "grid": {"batch_size": [8, 2000]}}
    house = House(tmp_path, raw)
    work(house.ledger, house.queue)
    house.ledger.close()
    said = [line.text for line in house.ledger.state.log if "exceeds" in line.text]
    assert len(said) == 2, "once for each candidate, and not for the fresh seeds"
