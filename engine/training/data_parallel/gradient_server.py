"""The ranks other than 0: compute gradients of their shares at the weights that rank 0 sends."""

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
    """A rank other than 0; it keeps images and a network, and no state from step to step."""

    def __init__(self, exchange: Exchange, rank: int, size: int, device: torch.device) -> None:
        self._exchange, self._rank, self._size, self._device = exchange, rank, size, device
        self._images: tuple[tuple[str, int], Images] | None = None
        self._stack: Stack | None = None

    def serve(self) -> None:
        """Execute the messages of rank 0 until it sends END.

        Raises:
            TeamLost: another rank is gone.
        """
        while True:
            message, batch = self._exchange.receive(self._device)
            if message.kind == TASK:
                self._begin(self._exchange.broadcast_bytes(message.size))
            elif message.kind == GRADIENT:
                self._gradient(message, batch)
            else:
                return

    def _begin(self, encoded: bytes) -> None:
        """Load images and network of a task."""
        task = msgspec.json.decode(encoded, type=GradientTask)
        held = validation_size(task.trial.settings.data, task.data.train)
        key = (task.data.folder, held)
        if self._images is None or self._images[0] != key:
            self._images = None
            self._images = key, load_images(task.data, self._device, held)
        torch.set_num_threads(task.plan.threads)
        self._stack = Stack((task.trial,), task.plan, self._device)
        self._exchange.make_room(task.plan.largest)

    def _gradient(self, message: ExchangeMessage, batch: Tensor) -> None:
        """Compute and send the gradient of the loss summed over this rank's share.

        Args:
            message: the batch size, the micro-batch size, and whether the norm is wanted.
            batch: indices of the whole batch, shape (B,).
        """
        assert self._stack is not None
        assert self._images is not None
        stack, images = self._stack, self._images[1]
        self._exchange.broadcast(stack.weights.detach())
        own = batch[share_of(message.size, self._size, self._rank)].unsqueeze(0)
        count = own.shape[1]
        if count:
            cut = message.cut
            stack.passes.accumulate(images.samples, own, cut=cut, mean=False, heard=unheard)
        else:
            stack.gradient.zero_()
        squares = mean_square(stack.gradient, count) if message.measured else None
        self._exchange.reduce_sum(stack.gradient)
        if squares is not None:
            self._exchange.reduce_sum(squares)
