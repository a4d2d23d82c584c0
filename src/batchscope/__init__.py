"""What does batch size do to my training? A terminal lab that answers it by training."""

import sys

if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    # `python -m batchscope` looks for modules in the current folder first, which may be anybody's.
    # A program that is started as `python -m other` and imports this package needs that folder.
    _named = sys.orig_argv[-len(sys.argv)].removeprefix("-m")
    if _named.partition(".")[0] == __name__:
        del sys.path[0]
    del _named

__version__ = "0.2.0"

from batchscope.engine.task import Task, TaskProblem

__all__ = ["Task", "TaskProblem"]
