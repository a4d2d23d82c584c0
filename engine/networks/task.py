"""A person's own network: only running their code can tell its layers."""

from batchscope.engine.networks.family import KEYS, Family
from batchscope.engine.networks.layer_specs import LayerSpec, Shape
from batchscope.engine.spec import Model


class TaskFamily(Family):
    """The model of a `[task]`, whose layers are unknown."""

    def layers(self, model: Model, images: Shape, classes: int) -> tuple[LayerSpec, ...]:
        """Return no layers."""
        return ()


TASK = TaskFamily(
    name="task",
    summary="the model of a task",
    not_taken={key: "the task decides it" for key in KEYS if key != "batch_norm"},
)
