"""What a conductor asks of a worker: one line of JSON each, on the worker's stdin."""

import msgspec

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.planning.plan import Plan
from batchscope.engine.spec import Interpolation, Trial


class TeamSpec(msgspec.Struct, frozen=True):
    """Those who train one trial together, this worker the first of them.

    They wait at the `rendezvous`, `size` with this worker; without one the worker starts them
    itself, as many as a plan says, on `devices` in the order of their ranks (the first its own;
    without any all have the worker's). With `apart` every one of them has a GPU of its own.
    """

    size: int = 1
    rendezvous: str = ""
    devices: tuple[str, ...] = ()
    apart: bool = False


class Setup(msgspec.Struct, frozen=True, tag_field="order", tag="setup"):
    """Take a device and load the libraries; answered by `WorkerReady` or `WorkerLost`.

    `card` is the UUID of the GPU that the device's name stands for, and `node` the machine where it
    is one of a cluster; `team` are those with whom trials that have several workers are trained.
    """

    worker: int
    device: str
    threads: int
    card: str = ""
    node: str = ""
    team: TeamSpec = TeamSpec()


class TrainOrder(msgspec.Struct, frozen=True, tag_field="order", tag="train"):
    """Train a group; answered by the events of each `active` member up to its `TrialEnded`.

    `members` are those of the plan, in its order. Those that are not active are computed where
    they belong to a stack, and nothing is said of them. The training is kept in the folder
    `checkpoints`, and goes on from what that holds if all active members are in there. `weights`
    are the folders in which trials are to leave their final weights.
    """

    members: tuple[Trial, ...]
    active: tuple[str, ...]
    plan: Plan
    attempt: int
    data: Prepared
    checkpoints: str = ""
    weights: dict[str, str] = {}


class Measure(msgspec.Struct, frozen=True, tag_field="order", tag="measure"):
    """Try micro-batch sizes of a group's step; answered by `MicroBatchesMeasured` or `TrialEnded`.

    `limit_bytes` bounds live tensor bytes, data included; without it a GPU's free memory does.
    `asked_bytes` is what people asked for. `seconds` is how long it may take, more or less.
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
    """Time steps of stacks of replicates; answered by `Paced`, or by `TrialEnded`.

    Of each of the sizes `stacks`, rising, the first so many `members` are one stack. The plan is
    that of the first member alone, with its micro-batch. What is not expected to keep below
    `limit_bytes` is left out, as is what takes longer than `seconds`. Where so many `workers` do
    this at the same time, the seconds are used up.
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
    """Measure along the line between two `members`; answered by `Interpolated`.

    `weights` are the folders of their final weights. Evaluated is as the `plan` of the first says.
    Where it is broken off, the answer has neither points nor a reason.
    """

    members: tuple[Trial, Trial]
    weights: tuple[str, str]
    line: Interpolation
    plan: Plan
    data: Prepared


class Drop(msgspec.Struct, frozen=True, tag_field="order", tag="drop"):
    """End one member of the training under way as `stopped`; the others go on."""

    trial: str


class Halt(msgspec.Struct, frozen=True, tag_field="order", tag="halt"):
    """End the training under way, if any, as `stopped`."""


class Hold(msgspec.Struct, frozen=True, tag_field="order", tag="hold"):
    """Hold the training still after its present step, off the clock."""


class GoOn(msgspec.Struct, frozen=True, tag_field="order", tag="go_on"):
    """Go on with a training that holds still."""


class Ping(msgspec.Struct, frozen=True, tag_field="order", tag="ping"):
    """Say that you are there: answered by the line `ALIVE`, which is no fact of the sweep."""


ALIVE = b'{"kind":"alive"}\n'

AnyOrder = Setup | Measure | Pace | TrainOrder | Interpolate | Drop | Halt | Hold | GoOn | Ping

Work = Measure | Pace | TrainOrder | Interpolate
"""What is done about a group, until it is answered."""


def awaited(order: Work) -> tuple[str, ...]:
    """The trials whose ends answer an order, all of them."""
    if isinstance(order, TrainOrder):
        return order.active
    return (order.members[0].id,)


decode = msgspec.json.Decoder(AnyOrder).decode
encode = msgspec.json.Encoder().encode
