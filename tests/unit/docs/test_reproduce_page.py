"""The order of images and the split of `docs/reproduce.md` are those of the program."""

import pytest
import torch

from batchscope.engine.data.validation_split import validation_size
from batchscope.engine.spec import Data
from batchscope.engine.training import batches
from tests.reproduce_page import listing


@pytest.mark.parametrize("sampling", ["without-replacement", "with-replacement"])
@pytest.mark.parametrize(("seed", "epoch"), [(0, 1), (0, 2), (7, 1), (2**40, 300)])
def test_the_order_of_an_epoch(sampling: str, seed: int, epoch: int) -> None:
    ours = batches.epoch_order(1437, seed, epoch, sampling == "with-replacement")
    theirs = listing("order.py")["epoch_order"](1437, seed, epoch, sampling)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("share", [1e-6, 0.1, 0.25, 0.5, 0.9])
def test_the_images_held_out(share: float) -> None:
    size = 1437
    held, left = batches.split(size, validation_size(Data(name="digits", validation=share), size))
    trained, validation = listing("order.py")["split"](size, share)
    assert torch.equal(trained, left)
    assert torch.equal(validation.sort().values, held)
