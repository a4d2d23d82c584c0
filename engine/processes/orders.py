"""The orders of a conductor to a worker, each one line of JSON on the worker's stdin."""

import msgspec

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.planning.plan import Plan
from batchscope.engine.spec import Interpolation, Trial


class TeamSpec(msgspec.Struct, frozen=True):
    """The workers that train one trial together; the worker that gets the order is rank 0.

    Attributes:
        size: the number of workers, if they run already.
        rendezvous: where they wait; if empty, this worker starts the others itself.
        devices: the devices by rank, rank 0's first; if empty, all use this worker's device.
        apart: whether each has a GPU of its own.
    """

    size: int = 1
    rendezvous: str = ""
    devices: tuple[str, ...] = ()
    apart: bool = False


class Setup(msgspec.Struct, frozen=True, tag_field="order", tag="setup"):
    """Take a device and load the libraries; answered by `WorkerReady` or `WorkerLost`.

    Attributes:
        worker: the worker's number.
        device: the name of the device, such as `cuda:0`.
        threads: the CPU threads to use.
        card: the UUID of the GPU that `device` means.
        node: the name of the node, on a cluster.
        team: the workers that train a trial together with this one.
        silence: the seconds without an answer after which one of them is given up.
    """

    worker: int
    device: str
    threads: int
    card: str = ""
    node: str = ""
    team: TeamSpec = TeamSpec()
    silence: float = 60.0


class WeightsOrder(msgspec.Struct, frozen=True):
    """Keep the final weights of a trial; answered by `WeightsKept`, before `TrialEnded`.

    Attributes:
        folder: the folder for the file, below the sweep's folder.
        sweep: the id of the sweep, which the file states.
        preset: the name of its preset.
        label: the label of the configuration.
    """

    folder: str
    sweep: str
    preset: str
    label: str


class TrainOrder(msgspec.Struct, frozen=True, tag_field="order", tag="train"):
    """Train a group; answered by the events of each `active` member up to its `TrialEnded`.

    Attributes:
        members: the trials of the plan, in its order. Members of a stack that are not active are
            computed, but the worker sends no events about them.
        active: the ids of the members that are still to be trained.
        plan: the numeric plan.
        attempt: the number of this attempt.
        data: the data set.
        checkpoints: the folder for checkpoints. Training resumes from its newest checkpoint, if
            that holds all active members.
        weights: by trial, the folder for its final weights, as an end of a line.
        kept: by trial, where to keep its final weights for others to load.
    """

    members: tuple[Trial, ...]
    active: tuple[str, ...]
    plan: Plan
    attempt: int
    data: Prepared
    checkpoints: str = ""
    weights: dict[str, str] = {}
    kept: dict[str, WeightsOrder] = {}


class Measure(msgspec.Struct, frozen=True, tag_field="order", tag="measure"):
    """Measure micro-batch sizes; answered by `MicroBatchesMeasured` or `TrialEnded`.

    Attributes:
        members: the trials; the first is measured.
        plan: the numeric plan before the choice.
        attempt: the number of this attempt.
        data: the data set.
        device_name: the device's name as people read it.
        asked_bytes: the memory limit that the user set.
        limit_bytes: the limit of live tensor bytes, including the data; if None, the free memory
            of the GPU.
        seconds: roughly how long the measurement may take.
    """

    members: tuple[Trial, ...]
    plan: Plan
    attempt: int
    data: Prepared
    device_name: str
    asked_bytes: int | None
    limit_bytes: int | None
    seconds: float


class Pace(msgspec.Struct, frozen=True, tag_field="order", tag="pace"):
    """Time training steps of stacks of replicates; answered by `Paced`, or by `TrialEnded`.

    Attributes:
        members: the replicates; a stack of size n consists of the first n.
        stacks: the stack sizes to time, ascending. Sizes that are expected to exceed
            `limit_bytes`, or to take longer than `seconds`, are left out.
        plan: the plan of the first member alone.
        attempt: the number of this attempt.
        data: the data set.
        device_name: the device's name as people read it.
        limit_bytes: the limit of live tensor bytes.
        seconds: how long the timing may take. All of it is used if several workers time at once.
        workers: the number of workers that time at once; 0 if only this one does.
    """

    members: tuple[Trial, ...]
    stacks: tuple[int, ...]
    plan: Plan
    attempt: int
    data: Prepared
    device_name: str
    limit_bytes: int | None
    seconds: float
    workers: int = 0


class Interpolate(msgspec.Struct, frozen=True, tag_field="order", tag="interpolate"):
    """Measure along the line between the weights of two members; answered by `Interpolated`.

    If it is interrupted, the answer has neither points nor a reason.

    Attributes:
        members: the trials at both ends of the line.
        weights: the folders of their final weights.
        line: the points to measure.
        plan: the plan of the first member; it sets the evaluation batch size.
        data: the data set.
    """

    members: tuple[Trial, Trial]
    weights: tuple[str, str]
    line: Interpolation
    plan: Plan
    data: Prepared


class Drop(msgspec.Struct, frozen=True, tag_field="order", tag="drop"):
    """End one member of the current training as `stopped`; the others continue."""

    trial: str


class Halt(msgspec.Struct, frozen=True, tag_field="order", tag="halt"):
    """End the current training, if any, as `stopped`."""


class Hold(msgspec.Struct, frozen=True, tag_field="order", tag="hold"):
    """Pause the training after its current step; the pause does not count as training time."""


class GoOn(msgspec.Struct, frozen=True, tag_field="order", tag="go_on"):
    """Continue a paused training."""


class Ping(msgspec.Struct, frozen=True, tag_field="order", tag="ping"):
    """Ask whether the worker is alive; answered by the line `ALIVE`, which is not an event."""


LONGEST_LINE = 64 << 20
"""The most bytes of a line in either direction; a longer one is no order, and no event."""

ALIVE = b'{"kind":"alive"}\n'

AnyOrder = Setup | Measure | Pace | TrainOrder | Interpolate | Drop | Halt | Hold | GoOn | Ping

Work = Measure | Pace | TrainOrder | Interpolate
"""The orders that work on a group of trials and are answered at their end."""


def awaited(order: Work) -> tuple[str, ...]:
    """Return the ids of the trials that must all end before an order is answered."""
    if isinstance(order, TrainOrder):
        return order.active
    return (order.members[0].id,)


decode = msgspec.json.Decoder(AnyOrder).decode
encode = msgspec.json.Encoder().encode
