"""Imports torchvision also where its compiled operators do not load beside a CPU torch.

PyPI's torchvision wheels link against CUDA. Beside a CPU build of torch their library
`_C.so` is passed over in silence, and then `torchvision/_meta_registrations.py` describes
operators that nobody has defined, which ends the import with `RuntimeError: operator
torchvision::nms does not exist`. Detection needs those operators; data sets, transforms and
classification models do not. So they are declared here, by name and types and without an
implementation (calling one still fails, clearly), and the import is tried once more.

Tests and benchmarks, which compare with torchvision, import it through here alone.
"""

import importlib
import re
import sys
from types import ModuleType
from typing import Any

_SYMPTOM = re.compile(r"operator torchvision::\w+ does not exist")

# As torchvision/csrc/ops/nms.cpp and csrc/ops/quantized/cpu/qnms_kernel.cpp declare them.
_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

# A torch.library.Library withdraws its definitions when it is collected.
_kept_alive: list[Any] = []


def import_torchvision() -> ModuleType:
    """The torchvision package.

    Raises:
        ImportError, RuntimeError: whatever its import raises for another reason.
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
    """Python drops the package whose import failed but keeps the submodules it had finished."""
    for name in list(sys.modules):
        if name.partition(".")[0] == "torchvision":
            del sys.modules[name]


def _declare_missing_operators() -> None:
    torch: Any = importlib.import_module("torch")
    # A fragment may be added to, so a library that does load later finds the namespace free.
    library = torch.library.Library("torchvision", "FRAGMENT")
    _kept_alive.append(library)
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
