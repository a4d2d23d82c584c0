"""Finds the buffers and the weights of a person's model where they are now, or says what moved."""

from torch import Tensor, nn

from batchscope.engine.task import TaskProblem


class OwnBuffers:
    """The buffers of a person's model, which may put new tensors in their places in each pass.

    Args:
        model: the model; its buffers must keep their shapes.
    """

    def __init__(self, model: nn.Module) -> None:
        self._held = [
            (module, name, f"{prefix}.{name}" if prefix else name, value.shape)
            for prefix, module in model.named_modules()
            for name, value in module._buffers.items()
            if value is not None
        ]

    def rows(self) -> list[Tensor]:
        """Return the present buffers as rows (1, ...) that share their memory.

        Raises:
            TaskProblem: one has another shape than at first.
        """
        found = []
        for module, name, full, shape in self._held:
            value = module._buffers.get(name)
            if value is None or value.shape != shape:
                now = "is gone" if value is None else f"has the shape {tuple(value.shape)}"
                raise TaskProblem(
                    f"Task(model=…): the buffer {full} had the shape {tuple(shape)} and {now} "
                    "now; make it as large as it will be when the model is made, or keep it as a "
                    "plain attribute"
                )
            found.append(value.unsqueeze(0))
        return found


def replaced(model: nn.Module, parameter: nn.Parameter) -> str:
    """Return that a parameter is no longer the one that is trained, measured and saved."""
    found = model.named_parameters()
    name = next((name for name, each in found if each is parameter), "a parameter")
    return (
        f"{name} was put somewhere else (.data = …); change it in place, for example with "
        ".clamp_() under torch.no_grad()"
    )
