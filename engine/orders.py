"""What a conductor asks of a worker: one line of JSON each, on the worker's stdin."""

import msgspec

from engine.plan import Plan
from engine.prepared import Prepared
from engine.spec import Trial


class Setup(msgspec.Struct, frozen=True, tag_field="order", tag="setup"):
    """Take a device and load the libraries; answered by `WorkerReady` or `WorkerLost`.

    `card` is the UUID of the GPU that the device's name stands for.
    """

    worker: int
    device: str
    threads: int
    card: str = ""


class Train(msgspec.Struct, frozen=True, tag_field="order", tag="train"):
    """Train a trial; answered by its events up to `TrialEnded`.

    It is kept in the folder `checkpoints`, and goes on from what that holds.
    """

    trial: Trial
    plan: Plan
    attempt: int
    data: Prepared
    checkpoints: str = ""


class Measure(msgspec.Struct, frozen=True, tag_field="order", tag="measure"):
    """Execute micro-batch sizes of a trial's step; answered by `Measured`, or by `TrialEnded`.

    `limit_bytes` bounds live tensor bytes, data included; without it a GPU's free memory does.
    `asked_bytes` is what people asked for. `seconds` is how long it may take, more or less.
    """

    trial: Trial
    plan: Plan
    attempt: int
    data: Prepared
    device_name: str
    asked_bytes: int | None
    limit_bytes: int | None
    seconds: float


class Halt(msgspec.Struct, frozen=True, tag_field="order", tag="halt"):
    """End the training under way, if any, as `stopped`."""


class Hold(msgspec.Struct, frozen=True, tag_field="order", tag="hold"):
    """Hold the training still after its present step, off the clock."""


class GoOn(msgspec.Struct, frozen=True, tag_field="order", tag="go_on"):
    """Go on with a training that holds still."""


class Ping(msgspec.Struct, frozen=True, tag_field="order", tag="ping"):
    """Say that you are there: answered by the line `ALIVE`, which is no fact of the sweep."""


ALIVE = b'{"kind":"alive"}\n'

AnyOrder = Setup | Measure | Train | Halt | Hold | GoOn | Ping

decode = msgspec.json.Decoder(AnyOrder).decode
encode = msgspec.json.Encoder().encode
