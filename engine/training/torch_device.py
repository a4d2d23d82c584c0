"""How a process computes on its device, and after which errors it cannot any more."""

import torch

from batchscope.engine.training.peak_memory import ran_out


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


DEVICE_WORDS = (
    *("CUDA error", "CUDA driver error", "CUDA unknown error", "cuDNN error"),
    *("CUDNN_STATUS", "CUBLAS_STATUS", "No CUDA GPUs are available"),
)


def device_failed(error: BaseException) -> bool:
    """Whether an error is the device's: it is gone, or the process's context on it is broken.

    CUDA answers every later call of the process with the same error, so only a new one can tell
    whether the device is still good for anything. Too little memory is no such error.
    """
    if ran_out(error):
        return False
    if isinstance(error, torch.AcceleratorError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in DEVICE_WORDS)


def device_problem(device: str, card: str) -> str | None:
    """Why a worker cannot train on a device, having tried; None if it can, and it is current.

    `card` is the UUID of the card that is meant by the name: once one has fallen off the bus, the
    names of those behind it move up.
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
            return f"{device}: it does not add up"
    except (RuntimeError, AssertionError) as error:
        return f"{device}: {' '.join(str(error).split())[:300]}"
    return None
