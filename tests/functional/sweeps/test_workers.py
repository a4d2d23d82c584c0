"""The number of workers without --workers, with real workers."""

import pytest

from batchscope.engine.devices.devices import cores
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from tests.functional.lab import Lab, events_of, needs_no_gpu, state_of, until

LONG = """
title = "Long"
seeds = 4
[data]
name = "digits"
[model]
name = "mlp"
hidden = [64]
[train]
lr = 0.05
epochs = 20000
[grid]
batch_size = [16, 64]
"""


@pytest.mark.campaign
@needs_no_gpu
@pytest.mark.skipif(cores() < 2, reason="there is one core alone")
def test_every_division_of_the_cores_is_timed_before_plans_are_fixed(lab: Lab) -> None:
    (lab.root / "long.toml").write_text(LONG)
    lab.start("--preset", str(lab.root / "long.toml"), "--export", "out")
    folder = lab.only_folder()
    until(lambda: (folder / journal.NAME).exists(), "a conductor has taken charge")
    until(lambda: state_of(folder).count("running") > 0, "a trial trains")
    events = events_of(folder)
    first = next(at for at, event in enumerate(events) if isinstance(event, ev.Planned))
    timed = [e for e in events[:first] if isinstance(e, ev.Paced) and e.workers]
    divisions = {(event.workers, event.threads) for event in timed}
    assert {(1, cores()), (min(8, cores()), 1)} <= divisions
    for workers, threads in divisions:
        same = [e for e in timed if (e.workers, e.threads) == (workers, threads)]
        assert {event.trial for event in same} == {"b16-s0", "b64-s0"}
        assert len(same) == 2 * workers
        assert {event.worker for event in same} == set(range(workers))
    state = state_of(folder)
    (planned,) = {plan.threads for plan in state.plans.values()}
    assert (len(state.workers), planned) in divisions
    assert any("× as fast as" in line.text for line in state.log)
