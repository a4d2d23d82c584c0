"""What does batch size do to my training? A terminal lab that answers it by training."""

__version__ = "0.2.0"

from batchscope.engine.task import Task, TaskProblem

__all__ = ["Task", "TaskProblem"]
