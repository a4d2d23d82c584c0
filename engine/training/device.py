"""How a process is to compute on its device."""

import torch


def compute_in_float32(device: torch.device) -> None:
    """Have a GPU compute what a plan calls fp32 in float32, not in TF32."""
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
