"""What was measured of memory, and planned by it."""

from batchscope.engine.journal.events import MicroBatchesMeasured, Planned
from batchscope.engine.orchestration.planner import chosen
from batchscope.engine.planning.micro_batch import Shape
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Configuration, trials_of
from tests.unit.training_fixtures import TRAIN_SIZE

SHAPES = (Shape(8, 100, 50.0, rounds=7), Shape(120, 900, 70.0, rounds=7), Shape(130, 901, 60.0))


def measured(of: Configuration, *shapes: Shape, seed: int = 0) -> MicroBatchesMeasured:
    return MicroBatchesMeasured(
        trial=f"{of.id}-s{seed}",
        device="cpu",
        device_name="a CPU",
        batch_size=of.settings.train.batch_size,
        asked_bytes=1000,
        limit_bytes=1000,
        held_bytes=0,
        shapes=shapes,
        evaluation_batch_size=77,
        evaluation_peak_bytes=800,
        seconds=0.1,
    )


def planned(of: Configuration, found: MicroBatchesMeasured | None, seed: int = 0) -> Planned:
    plan = make_plan(trials_of(of)[seed], TRAIN_SIZE, threads=1)
    return Planned(plan=chosen(plan, found) if found else plan)
