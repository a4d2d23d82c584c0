"""Imports modules from a person's folder and records the SHA-256 of the code that was run.

The digest is of the very bytes that were compiled, so a file that changes or is deleted while the
process runs cannot disagree with it. No bytecode is read or written there: a stale or planted
`__pycache__` would be other code than the source that was recorded.
"""

import hashlib
import importlib.machinery
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchscope.engine.errors import UsageProblem, printable
from batchscope.engine.system.private_folders import check_unshared

INSTALLED = ("site-packages", "dist-packages")
"""Folders of installed packages."""


class CodeRefused(UsageProblem):
    """The code of a task may not be run, so the whole sweep stops; `files` are at fault."""

    def __init__(self, why: str, *files: str) -> None:
        super().__init__(why)
        self.files = files


def code_changed(files: list[str], sweep: str = "") -> CodeRefused:
    """Return that files differ from those that the sweep has trained with so far.

    Args:
        files: their names.
        sweep: the sweep's id, where it is known.
    """
    resumed = f"`batchscope resume {printable(sweep)} --accept-code`"
    some = ", ".join(printable(each) for each in files[:3])
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return CodeRefused(
        f"the code of the task has changed since this sweep began: {some}{more}; undo the change, "
        f"or go on with {resumed if sweep else 'a resume and --accept-code'}, which marks the "
        "trials that train with the new code, or start a new sweep",
        *files,
    )


class CodeDigests:
    """Puts a folder first on `sys.path` and records what is imported from it.

    Args:
        folder: the folder; it must be its own real path, because that is what was trusted.
        known: SHA-256 by path below the folder, as a worker before has recorded them.

    Attributes:
        digests: SHA-256 in hexadecimal, by path below the folder.
        refusal: why a module was not run. It is raised where the module is imported, but a
            person's code may catch that, so `check` raises it once more.

    Raises:
        CodeRefused: the folder is a link now, or others may write to it.
    """

    def __init__(self, folder: Path, known: Mapping[str, str] | None = None) -> None:
        self.folder = Path(os.path.realpath(folder))
        self.known = dict(known or {})
        self.digests: dict[str, str] = {}
        self.refusal: CodeRefused | None = None
        if self.folder != Path(os.path.abspath(folder)):  # noqa: PTH100 (`..` must go)
            raise CodeRefused(
                f"{printable(folder)}: no code is run from there, because it leads through a link "
                f"to {printable(self.folder)}"
            )
        self._check_unshared(self.folder)

    def install(self) -> None:
        """Make imports look in the folder first, and record the code that they find there.

        To be called once in a process, after all modules of batchscope are loaded.
        """
        recorder, source_loader = self, importlib.machinery.SourceFileLoader
        usual = source_loader.get_code

        def get_code(loader: importlib.machinery.SourceFileLoader, fullname: str) -> Any:
            """Return the code of a module's source; if it is of the folder, record its digest."""
            path = loader.get_filename(fullname)
            if not recorder._names(path):
                return usual(loader, fullname)
            source = loader.get_data(path)
            recorder.record(path, source)
            return loader.source_to_code(source, path)

        # of the class itself: many load a module by its path (importlib.util), past all hooks
        source_loader.get_code = get_code  # type: ignore[method-assign, assignment]

        class Extension(importlib.machinery.ExtensionFileLoader):
            """Loads an extension module, and records its digest."""

            def create_module(self, spec: importlib.machinery.ModuleSpec) -> Any:
                """Return the module of a shared library."""
                recorder.record(self.path, Path(self.path).read_bytes())
                return super().create_module(spec)

        kinds = (
            (Extension, importlib.machinery.EXTENSION_SUFFIXES),
            (source_loader, importlib.machinery.SOURCE_SUFFIXES),
        )
        finder = importlib.machinery.FileFinder.path_hook(*kinds)

        def hook(path: str) -> Any:
            if not recorder._names(path):
                raise ImportError(path)
            return finder(path)

        sys.path_hooks.insert(0, hook)
        sys.path_importer_cache.clear()
        sys.path.insert(0, str(self.folder))

    def holds(self, path: str | Path) -> bool:
        """Return whether a path is the folder or lies below it."""
        return Path(os.path.realpath(path)).is_relative_to(self.folder)

    def record(self, path: str, content: bytes) -> None:
        """Record the digest of a module's file, which is about to be run.

        Raises:
            CodeRefused: it lies elsewhere, others may write to it, or it has changed.
        """
        name, digest = self._name(path), hashlib.sha256(content).hexdigest()
        if not self.holds(path):
            self._refuse(
                CodeRefused(
                    f"{printable(path)}: is a link out of the trusted folder; put the file there, "
                    "or install it as a package",
                    name,
                )
            )
        self._check_unshared(Path(path))
        if self.known.get(name, digest) != digest:
            self._refuse(code_changed([name]))
        self.digests[name] = digest

    def check(self) -> None:
        """Raise `CodeRefused` if a module was not run, whoever has caught the error."""
        if self.refusal:
            raise self.refusal

    def loaded_lately(self) -> dict[str, str]:
        """Return the digests of modules that no worker before has recorded."""
        return {name: each for name, each in self.digests.items() if name not in self.known}

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

    def _names(self, path: str) -> bool:
        """Return whether a path is written as one below the folder; links are not followed.

        Packages that are installed there, in an environment of the project, are not its code.
        """
        written = Path(os.path.abspath(path))  # noqa: PTH100
        if not written.is_relative_to(self.folder):
            return False
        return not set(written.relative_to(self.folder).parts) & set(INSTALLED)

    def _name(self, path: str) -> str:
        written = Path(os.path.abspath(path))  # noqa: PTH100
        real = Path(os.path.realpath(path))
        for each in (real, written):
            if each.is_relative_to(self.folder):
                return each.relative_to(self.folder).as_posix()
        return str(real)

    def _check_unshared(self, path: Path) -> None:
        try:
            check_unshared(path)
        except OSError as error:
            why = error.strerror or str(error)
            self._refuse(
                CodeRefused(f"{printable(path)}: is not run, because {why}", self._name(str(path)))
            )

    def _refuse(self, refusal: CodeRefused) -> None:
        self.refusal = self.refusal or refusal
        raise refusal
