"""The side of the other ranks: gradients of their shares, for whatever weights they are sent."""

import msgspec
import torch
from torch import Tensor

from batchscope.engine.data.validation_split import validation_size
from batchscope.engine.planning.plan import share_of
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.data_parallel.exchange import (
    GRADIENT,
    TASK,
    Exchange,
    ExchangeMessage,
    GradientTask,
)
from batchscope.engine.training.data_parallel.leader import mean_square
from batchscope.engine.training.model.passes import unheard
from batchscope.engine.training.model.stack import Stack


class GradientServer:
    """One of the other ranks: images, a network, and nothing that lasts from step to step."""

    def __init__(self, exchange: Exchange, rank: int, size: int, device: torch.device) -> None:
        self._exchange, self._rank, self._size, self._device = exchange, rank, size, device
        self._images: tuple[tuple[str, int], Images] | None = None
        self._stack: Stack | None = None

    def serve(self) -> None:
        """Do what rank 0 says until it says no more.

        Raises:
            TeamLost: one of the others is gone.
        """
        while True:
            message, batch = self._exchange.hear(self._device)
            if message.kind == TASK:
                self._begin(self._exchange.text(message.size))
            elif message.kind == GRADIENT:
                self._gradient(message, batch)
            else:
                return

    def _begin(self, said: bytes) -> None:
        task = msgspec.json.decode(said, type=GradientTask)
        held = validation_size(task.trial.settings.data, task.data.train)
        key = (task.data.folder, held)
        if self._images is None or self._images[0] != key:
            self._images = None
            self._images = key, load_images(task.data, self._device, held)
        torch.set_num_threads(task.plan.threads)
        self._stack = Stack((task.trial,), task.plan, self._device)
        self._exchange.make_room(task.plan.largest)

    def _gradient(self, message: ExchangeMessage, batch: Tensor) -> None:
        """Send the gradient of the loss summed over our share of a batch, indices (B,)."""
        assert self._stack is not None
        assert self._images is not None
        stack, images = self._stack, self._images[1]
        self._exchange.spread(stack.weights.detach())
        own = batch[share_of(message.size, self._size, self._rank)].unsqueeze(0)
        count = own.shape[1]
        if count:
            stack.passes.accumulate(
                images.train,
                images.train_labels,
                own,
                cut=message.cut,
                mean=False,
                heard=unheard,
            )
        else:
            stack.gradient.zero_()
        squares = mean_square(stack.gradient, count) if message.measured else None
        self._exchange.add_up(stack.gradient)
        if squares is not None:
            self._exchange.add_up(squares)
