"""What every event has: the moment at which it was written down."""

from msgspec import Struct


class Event(Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    """A fact with the moment it was written down."""

    at: float = 0.0
