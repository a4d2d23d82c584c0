"""Keeps the children that a person's code forks from going on as if they were the process itself.

A child that returns from their code would train, write checkpoints and answer a second time. Its
answers go nowhere, and it ends as soon as it returns to ours.
"""

import os


class _Process:
    is_child = False


def guard(answers: int) -> None:
    """From now on, no forked child of this process writes to this descriptor."""

    def in_child() -> None:
        _Process.is_child = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, answers, inheritable=False)
        os.close(nowhere)

    os.register_at_fork(after_in_child=in_child)


def leave_if_child() -> None:
    """End the process if it is a child that a person's code has forked."""
    if _Process.is_child:
        os._exit(0)
