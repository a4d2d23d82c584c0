"""Inject faults into the program's processes, by code that Python runs at its start."""

from pathlib import Path

FRAME = """
import importlib.abc, importlib.util, os, sys

FLAG, BATCH = os.environ["FAULT_FLAG"], int(os.environ.get("FAULT_BATCH", "0"))


class Loader(importlib.abc.Loader):
    def __init__(self, real):
        self.real = real

    def create_module(self, spec):
        return self.real.create_module(spec)

    def exec_module(self, module):
        self.real.exec_module(module)
        module.Stepper = broken(module.Stepper)


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "batchscope.engine.training.trainer.train_step":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        spec.loader = Loader(spec.loader)
        return spec


def first():
    try:
        os.unlink(FLAG)
    except FileNotFoundError:
        return False
    return True


sys.meta_path.insert(0, Finder())
"""
"""Puts the training step behind a `broken` one; `first()` is true once, for whoever asks first."""

HOOK = f"""{FRAME}

def broken(stepper):
    step = stepper.step

    def stepped(self, batch, number, *rest):
        if number > 100 and (batch.shape[1] == BATCH if BATCH else first()):
            import torch
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        return step(self, batch, number, *rest)

    stepper.step = stepped
    return stepper
"""

SHORT = f"""{FRAME}

def broken(stepper):
    update, taken = stepper.update, 0

    def updated(self, step):
        nonlocal taken
        taken += 1
        update(self, step)
        if taken == 150 and first():
            import torch
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    stepper.update = updated
    return stepper
"""
"""Memory runs out once the weights have moved."""

STEPPED = '''
import time

_real = time.time
_start = time.monotonic()


def _time():
    """It is a day late and a day early by turns, twice a second."""
    return _real() + (86_400.0 if int(4 * (time.monotonic() - _start)) % 2 else -86_400.0)


time.time = _time
'''


def write(folder: Path, text: str) -> dict[str, str]:
    """Return environment variables with which every Python runs the text first."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(text)
    return {"PYTHONPATH": str(folder)}
