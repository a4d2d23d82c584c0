"""How a process is to compute on its device."""

import torch


def make_current(device: torch.device) -> None:
    """Make a GPU this thread's current one, so that nothing is placed on the first by default.

    New streams, recordings and contexts belong to the current device, whatever device the tensors
    beside them are on.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)


def compute_in_float32(device: torch.device) -> None:
    """Have a GPU compute what a plan calls fp32 in float32, not in TF32."""
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
