"""How many replicates are trained as one stack: arithmetic on steps that were timed."""

from msgspec import Struct


class Stack(Struct, frozen=True):
    """So many replicates as one stack: the median seconds of a step of all of them.

    `peak_bytes` are the most live tensor bytes of the step, data included.
    """

    size: int
    seconds: float
    peak_bytes: int = 0
