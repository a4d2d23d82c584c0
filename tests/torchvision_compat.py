"""Imports torchvision even if its compiled operators do not load with a CPU build of torch.

PyPI's torchvision wheels link against CUDA. With a CPU build of torch, torchvision silently skips
its library `_C.so`. Then `torchvision/_meta_registrations.py` registers operators that do not
exist, and the import fails with `RuntimeError: operator torchvision::nms does not exist`. Detection
needs these operators; data sets, transforms and classification models do not. So this module
declares them with name and types but without an implementation (calling one still fails with a
clear error), and repeats the import.

Tests and benchmarks that compare with torchvision import it only through this module.
"""

import importlib
import re
import sys
from types import ModuleType
from typing import Any

_SYMPTOM = re.compile(r"operator torchvision::\w+ does not exist")

# The same as in torchvision/csrc/ops/nms.cpp and csrc/ops/quantized/cpu/qnms_kernel.cpp.
_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

# A torch.library.Library removes its definitions when it is garbage-collected.
_kept_alive: list[Any] = []


def import_torchvision() -> ModuleType:
    """Import torchvision and return it.

    Raises:
        ImportError, RuntimeError: the import failed for another reason.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if not _SYMPTOM.search(str(error)):
            raise
    _forget_half_imported()
    _declare_missing_operators()
    return importlib.import_module("torchvision")


def _forget_half_imported() -> None:
    """Remove the submodules that Python keeps in `sys.modules` after a failed import."""
    for name in list(sys.modules):
        if name.partition(".")[0] == "torchvision":
            del sys.modules[name]


def _declare_missing_operators() -> None:
    torch: Any = importlib.import_module("torch")
    # A fragment leaves the namespace free for a library that does load later.
    library = torch.library.Library("torchvision", "FRAGMENT")
    _kept_alive.append(library)
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
