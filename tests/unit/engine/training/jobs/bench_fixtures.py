"""Orders to measure a micro-batch."""

from pathlib import Path

from batchscope.engine.planning.plan import Plan, make_plan
from batchscope.engine.processes.orders import Measure
from batchscope.engine.spec import Trial
from batchscope.engine.training.batches import Images
from tests.unit.training_fixtures import synthetic

GENEROUS = 60.0


def plan_of(trial: Trial, images: Images) -> Plan:
    return make_plan(trial, images.train_size, threads=1)


def order_of(trial: Trial, images: Images, folder: Path, limit: int) -> Measure:
    return Measure(
        members=(trial,),
        plan=plan_of(trial, images),
        attempt=1,
        data=synthetic(folder, train=1, test=1),
        device_name="some CPU",
        asked_bytes=None,
        limit_bytes=limit,
        seconds=GENEROUS,
    )
