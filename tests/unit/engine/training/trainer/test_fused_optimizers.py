"""Steps without torch's bookkeeping: the bits and the states of torch's own optimizers."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim

from batchscope.engine.training.trainer import fused_optimizers
from batchscope.engine.training.trainer.fused_optimizers import FusedAdam, FusedAdamW, FusedSGD

SHAPES, STEPS = ((7, 5), (7,), (3, 7), (3,)), 6
Make = Callable[[type[Any], Any], Any]


def momentum(kind: type[Any], groups: Any) -> Any:
    return kind(groups, lr=0.1, momentum=0.9, weight_decay=0.01, fused=True)


def nesterov(kind: type[Any], groups: Any) -> Any:
    return kind(groups, lr=0.1, momentum=0.8, nesterov=True, fused=True)


def adam(kind: type[Any], groups: Any) -> Any:
    return kind(groups, lr=0.1, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.02, fused=True)


KINDS = [
    pytest.param(FusedSGD, optim.SGD, momentum, id="momentum"),
    pytest.param(FusedSGD, optim.SGD, nesterov, id="nesterov"),
    pytest.param(FusedAdam, optim.Adam, adam, id="adam"),
    pytest.param(FusedAdamW, optim.AdamW, adam, id="adamw"),
]


def parameters(dtypes: Sequence[torch.dtype] = (torch.float32,)) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    kinds = [dtypes[at % len(dtypes)] for at in range(len(SHAPES))]
    drawn = [torch.randn(shape, generator=generator) for shape in SHAPES]
    return [nn.Parameter(each.to(kind)) for each, kind in zip(drawn, kinds, strict=True)]


def give_gradients(weights: Sequence[nn.Parameter], step: int, without: Sequence[int]) -> None:
    generator = torch.Generator().manual_seed(step)
    for at, weight in enumerate(weights):
        gradient = torch.randn(weight.shape, generator=generator).to(weight.dtype)
        weight.grad = None if at in without else gradient


def trained(made: Any, weights: Sequence[nn.Parameter], late: bool = False, first: int = 0) -> None:
    """Take steps; the last parameter may get its first gradient late, the first none in one."""
    for step in range(first, first + STEPS):
        made.param_groups[0]["lr"] = 0.1 / (1 + step)
        give_gradients(weights, step, [3] if late and step < 3 else [0] if step == 4 else [])
        made.step()


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.parametrize("dtypes", [(torch.float32,), (torch.float32, torch.float64)])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(("ours", "theirs", "make"), KINDS)
def test_weights_and_states_have_the_bits_of_torch(
    ours: type[Any], theirs: type[Any], make: Make, late: bool, dtypes: tuple[torch.dtype, ...]
) -> None:
    made = list[Any]()
    for kind in (ours, theirs):
        weights = parameters(dtypes)
        optimizer = make(kind, [{"params": weights[:2]}, {"params": weights[2:], "lr": 0.03}])
        if make in (momentum, nesterov):  # as a task's begins; torch's fails without it
            for each in weights:
                optimizer.state[each]["momentum_buffer"] = torch.zeros_like(each)
        trained(optimizer, weights, late)
        made.append((list(weights), optimizer.state_dict()))
    assert same(made[0], made[1])


@pytest.mark.parametrize(("ours", "theirs", "make"), KINDS)
def test_a_state_of_torch_is_continued(ours: type[Any], theirs: type[Any], make: Make) -> None:
    weights = parameters()
    before = make(theirs, weights)
    trained(before, weights)
    copies = [nn.Parameter(each.detach().clone()) for each in weights]
    after = make(ours, copies)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    trained(before, weights, first=STEPS)
    trained(after, copies, first=STEPS)
    assert same((weights, before.state_dict()), (copies, after.state_dict()))


@pytest.mark.parametrize(("ours", "theirs", "make"), KINDS)
def test_only_steps_that_make_a_state_are_torchs(
    ours: type[Any], theirs: type[Any], make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the shorter step would never be taken, and nothing else would show it."""
    found = list[bool]()
    looked = fused_optimizers._all_columns

    def counted(*given: Any) -> Any:
        columns = looked(*given)
        found.append(columns is not None)
        return columns

    monkeypatch.setattr(fused_optimizers, "_all_columns", counted)
    weights = parameters()
    trained(make(ours, weights), weights)
    assert found == [False] + [True] * (STEPS - 1)
