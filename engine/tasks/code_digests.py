"""Imports modules from a person's folder and records the SHA-256 of the code that was run.

The digest is of the very bytes that were compiled, so a file that changes or is deleted while the
process runs cannot disagree with it. No bytecode is read or written there: a stale or planted
`__pycache__` would be other code than the source that was recorded.
"""

import hashlib
import importlib.machinery
import os
import sys
from pathlib import Path
from types import CodeType
from typing import Any

from batchscope.engine.errors import UsageProblem, printable


class CodeDigests:
    """Puts a folder first on `sys.path` and records what is imported from it.

    Attributes:
        digests: SHA-256 in hexadecimal, by path below the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.realpath(folder))
        self.digests: dict[str, str] = {}

    def install(self) -> None:
        """Make imports look in the folder first, and record the code that they find there.

        To be called once in a process, after all modules of batchscope are loaded.
        """
        recorder = self

        class Recording(importlib.machinery.SourceFileLoader):
            """Compiles the source, and records its digest."""

            def get_code(self, fullname: str) -> CodeType:
                """Return the code of a module's source."""
                path = self.get_filename(fullname)
                source = self.get_data(path)
                recorder.record(path, source)
                code: CodeType = self.source_to_code(source, path)
                return code

        class Extension(importlib.machinery.ExtensionFileLoader):
            """Loads an extension module, and records its digest."""

            def create_module(self, spec: importlib.machinery.ModuleSpec) -> Any:
                """Return the module of a shared library."""
                recorder.record(self.path, Path(self.path).read_bytes())
                return super().create_module(spec)

        kinds = (
            (Extension, importlib.machinery.EXTENSION_SUFFIXES),
            (Recording, importlib.machinery.SOURCE_SUFFIXES),
        )
        finder = importlib.machinery.FileFinder.path_hook(*kinds)

        def hook(path: str) -> Any:
            if not recorder.holds(path):
                raise ImportError(path)
            return finder(path)

        sys.path_hooks.insert(0, hook)
        sys.path_importer_cache.clear()
        sys.path.insert(0, str(self.folder))

    def holds(self, path: str | Path) -> bool:
        """Return whether a path is the folder or lies below it."""
        return Path(os.path.realpath(path)).is_relative_to(self.folder)

    def record(self, path: str, content: bytes) -> None:
        """Record the digest of a file."""
        name = os.path.realpath(path)
        below = Path(name).relative_to(self.folder).as_posix() if self.holds(path) else name
        self.digests[below] = hashlib.sha256(content).hexdigest()

    def check_free(self, module: str) -> None:
        """Raise `UsageProblem` if another module of this name is loaded already."""
        first = module.partition(".")[0]
        loaded = sys.modules.get(first)
        file = getattr(loaded, "__file__", None)
        if loaded is not None and not (file and self.holds(file)):
            raise UsageProblem(
                f"task.use: the name {printable(first)} belongs to a module of Python or of an "
                "installed package; give the file another name"
            )
