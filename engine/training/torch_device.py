"""Sets up and tests the device of a process, and recognizes errors that break it."""

import torch

from batchscope.engine.errors import words_of
from batchscope.engine.training.peak_memory import ran_out


def make_current(device: torch.device) -> None:
    """Make a GPU the current one of this thread, because the first GPU is the default.

    New streams, CUDA graphs and contexts belong to the current device, even if the tensors
    are on another one.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)


def compute_in_float32(device: torch.device) -> None:
    """Turn off TF32 on a GPU, so that the plan's fp32 means float32."""
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


DEVICE_WORDS = (
    *("CUDA error", "CUDA driver error", "CUDA unknown error", "cuDNN error"),
    *("CUDNN_STATUS", "CUBLAS_STATUS", "No CUDA GPUs are available"),
)


def device_failed(error: BaseException) -> bool:
    """Return whether an error means that the device, or this process's context on it, is broken.

    CUDA answers every later call of the process with the same error, so only a new process can
    find out whether the device still works. Running out of memory is not such an error.
    """
    if ran_out(error):
        return False
    if isinstance(error, torch.AcceleratorError):
        return True
    return isinstance(error, RuntimeError) and any(word in words_of(error) for word in DEVICE_WORDS)


def device_problem(device: str, card: str) -> str | None:
    """Try a device, and return why a worker cannot train on it; None if it can.

    A GPU that works is made the current one.

    Args:
        device: name of the device, such as "cuda:0".
        card: UUID of the expected GPU. When a GPU fails and disappears, the later ones move up and
            get other names.
    """
    if not device.startswith("cuda"):
        return None
    try:
        if not torch.cuda.is_available():
            built = "has no CUDA" if torch.version.cuda is None else "finds no usable GPU"
            return f"{device}: this torch ({torch.__version__}) {built}"
        index = int(device.partition(":")[2] or 0)
        if index >= torch.cuda.device_count():
            return f"{device}: there are {torch.cuda.device_count()} GPUs"
        if card.startswith("GPU-"):
            uuid = str(getattr(torch.cuda.get_device_properties(index), "uuid", ""))
            if uuid and uuid.removeprefix("GPU-") != card.removeprefix("GPU-"):
                return f"{device}: the card of this name is gone, and another has taken the name"
        make_current(torch.device(device))
        if float(torch.ones(8, device=device).sum()) != 8.0:
            return f"{device}: a test computation gave a wrong result"
    except (RuntimeError, AssertionError) as error:
        return f"{device}: {' '.join(str(error).split())[:300]}"
    return None
