"""Refuses a task whose tensors alone exceed the memory that it may use, before they are copied."""

from batchscope.engine.formatting import shown_size
from batchscope.engine.task import Task, TaskProblem
from batchscope.engine.training.tasks.batch_structure import tensors


def refuse_large(task: Task, limit: int) -> None:
    """Raise `TaskProblem` if the tensors of a task's data take more than `limit` bytes."""
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for data in (task.train, task.validation, task.test)
        for tensor in tensors(data)
    }
    size = sum(storages.values())
    if size > limit:
        raise TaskProblem(
            f"Task(train=…): the data take {shown_size(size)}, more than the memory limit of "
            f"{shown_size(limit)}; give a data set that reads its samples one by one, or raise "
            "memory.limit"
        )
