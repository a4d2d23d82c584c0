"""Takes a person's model as it can be trained here, or says what to do instead."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from batchscope.engine.errors import shown
from batchscope.engine.task import TaskProblem

WRAPPERS = ("DistributedDataParallel", "FullyShardedDataParallel", "DataParallel")
COMPILED = "OptimizedModule"
"""The class of a compiled module; torch's compiler is slow to import, so it is known by name."""


def accepted(model: nn.Module) -> nn.Module:
    """Return a model that can be trained: without a compiler around it, each weight held once.

    Parameters that are one memory become one parameter, as where a module is used twice.

    Raises:
        TaskProblem: it cannot be trained; the message says what to do.
    """
    if not isinstance(model, nn.Module):
        raise TaskProblem(f"Task(model=…): expected a torch.nn.Module, got {shown(model)}")
    model = _without_compiler(model)
    _refuse_wrappers(model)
    _refuse_parameters(model)
    _refuse_sparse(model)
    _join_tied(model)
    return model


def is_compiled(model: object) -> bool:
    """Return whether a model, or a module of it, was compiled with `torch.compile`."""
    return isinstance(model, nn.Module) and any(
        type(each).__name__ == COMPILED for each in model.modules()
    )


def cast(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Change the precision of a model's real numbers in place; complex ones stay complex."""

    def changed(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    model._apply(changed)  # type: ignore[no-untyped-call]
    return model


def refuse_uncopyable(model: nn.Module) -> None:
    """Raise `TaskProblem` if a model cannot be copied: every training begins with a copy of it."""
    try:
        copy.deepcopy(model)
    except MemoryError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise TaskProblem(
            f"Task(model=…): the model cannot be copied ({type(error).__name__}: {text}); keep "
            "locks, files, generators and computed tensors outside of it"
        ) from error


def _without_compiler(model: nn.Module) -> nn.Module:
    """Return the model itself: a new compilation for each size of a part would take minutes."""
    if type(model).__name__ == COMPILED:
        inner = model._orig_mod
        assert isinstance(inner, nn.Module)
        model = inner
    for module in list(model.modules()):
        for name, child in list(module._modules.items()):
            if type(child).__name__ == COMPILED:
                assert child is not None
                inside = child._orig_mod
                assert isinstance(inside, nn.Module)
                module._modules[name] = inside
    return model


def _refuse_wrappers(model: nn.Module) -> None:
    for name, module in model.named_modules():
        kind = type(module).__name__
        if kind in WRAPPERS or kind.startswith("FSDP"):
            inside = f"model.{name}" if name else "the model"
            raise TaskProblem(
                f"Task(model=…): {inside} is wrapped in {kind}; give the module inside of it "
                "(.module)"
            )


def _refuse_parameters(model: nn.Module) -> None:
    trained = 0
    for name, each in model.named_parameters():
        if is_lazy(each):
            raise TaskProblem(
                f"Task(model=…): {name} has no size yet; pass a batch through the model first"
            )
        if each.is_meta:
            raise TaskProblem(
                f"Task(model=…): {name} is on the device 'meta', so it has no values; make the "
                "model on the CPU"
            )
        if not each.requires_grad:
            continue
        trained += 1
        if each.is_complex():
            raise TaskProblem(
                f"Task(model=…): {name} is complex; use a real parameter with a last dimension of "
                "2, and torch.view_as_complex in the forward pass"
            )
        if each.dtype != torch.float32:
            raise TaskProblem(
                f"Task(model=…): {name} is {each.dtype}; use float32, and "
                'train.precision = "bf16" for faster passes'
            )
    if not trained:
        raise TaskProblem("Task(model=…): no parameter requires a gradient")


def _refuse_sparse(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.sparse:
            raise TaskProblem(
                f"Task(model=…): {name or 'the model'} has sparse gradients, which have no place "
                "in one norm over all weights; use sparse=False"
            )


def _join_tied(model: nn.Module) -> None:
    """Make parameters that are the same memory one parameter, so that a copy keeps them tied.

    Raises:
        TaskProblem: two share a part of their memory only, or one of them is not trained.
    """
    owners = list[tuple[str, nn.Parameter]]()
    for module, prefix in _modules(model):
        for name, each in module._parameters.items():
            if each is None or not each.requires_grad:
                continue
            known, owner = _owner(owners, each) or (prefix + name, each)
            if owner is each:
                owners.append((known, each))
                continue
            if _view(owner) != _view(each):
                raise TaskProblem(
                    f"Task(model=…): {known} and {prefix}{name} share a part of their memory; make "
                    "them one parameter, or copy with .clone()"
                )
            module._parameters[name] = owner
    for name, fixed in [*model.named_buffers(), *model.named_parameters()]:
        if isinstance(fixed, nn.Parameter) and fixed.requires_grad:
            continue
        found = _owner(owners, fixed)
        if found:
            raise TaskProblem(
                f"Task(model=…): {name} is not trained, but is the memory of {found[0]}, which is; "
                "use one parameter for both, or copy with .clone()"
            )


def _owner(
    owners: list[tuple[str, nn.Parameter]], tensor: Tensor
) -> tuple[str, nn.Parameter] | None:
    """Return the parameter that a tensor is, or that it shares memory with; None if there is none.

    Parts of one storage that do not overlap, as in an LSTM on a GPU, share nothing.
    """
    key, (start, end) = tensor.untyped_storage().data_ptr(), _bytes(tensor)
    for name, owner in owners:
        if owner is tensor:
            return name, owner
        if owner.untyped_storage().data_ptr() == key:
            first, last = _bytes(owner)
            if start < last and first < end:
                return name, owner
    return None


def _bytes(tensor: Tensor) -> tuple[int, int]:
    """Return where a tensor begins and ends in its storage, in bytes."""
    if not tensor.numel():
        return 0, 0
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    last = sum((int(count) - 1) * int(step) for count, step in steps)
    size, start = tensor.element_size(), int(tensor.storage_offset())
    return start * size, (start + last + 1) * size


def _modules(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    for name, module in model.named_modules():
        yield module, f"{name}." if name else ""


def _view(tensor: Tensor) -> tuple[object, ...]:
    return tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype
