"""A line of the table that `batchscope check` prints."""

from typing import Literal

from msgspec import Struct

from batchscope.engine.task_table import TaskFacts

Verdict = Literal["ok", "note", "wrong"]
SLOW_START_SECONDS = 10.0


class CheckRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the table: `name` of the check, its `verdict`, and `text` that explains it.

    `facts` has the names that a preset may use: of metrics and layers.
    """

    name: str
    verdict: Verdict
    text: str
    facts: TaskFacts | None = None


def start_row(taken: float) -> CheckRow | None:
    """Return what to say of the seconds until the first task was made; None if they are few."""
    if taken < SLOW_START_SECONDS:
        return None
    text = (
        f"importing the module and making the task took {taken:.3g} s, which every trial takes "
        "again; lines that train at import belong below `if __name__ == '__main__':`"
    )
    return CheckRow(name="start", verdict="note", text=text)
