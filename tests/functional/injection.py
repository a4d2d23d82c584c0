"""Faults put into the program's own processes from outside, by what Python runs as it starts."""

from pathlib import Path

HOOK = """
import importlib.abc, importlib.util, os, sys

FLAG, BATCH = os.environ["FAULT_FLAG"], int(os.environ.get("FAULT_BATCH", "0"))


class Loader(importlib.abc.Loader):
    def __init__(self, real):
        self.real = real

    def create_module(self, spec):
        return self.real.create_module(spec)

    def exec_module(self, module):
        self.real.exec_module(module)
        step = module.Stepper.step

        def broken(self, batch, number, filled):
            if number > 100 and (BATCH == 0 or len(batch) == BATCH):
                try:
                    if BATCH == 0:
                        os.unlink(FLAG)
                except FileNotFoundError:
                    return step(self, batch, number, filled)
                import torch
                raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
            return step(self, batch, number, filled)

        module.Stepper.step = broken


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "engine.training.stepping":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        spec.loader = Loader(spec.loader)
        return spec


sys.meta_path.insert(0, Finder())
"""

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
    """Have every Python that is started with the returned variables run the text first."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(text)
    return {"PYTHONPATH": str(folder)}
