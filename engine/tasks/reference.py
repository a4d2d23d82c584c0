"""Finds the file and the function that `[task] use = "module:function"` names.

The file is read, never run: the command line and the conductor check a task with this module alone.
"""

import ast
import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from batchscope.engine.errors import UsageProblem, nearest, printable, shown
from batchscope.engine.system.files import is_there
from batchscope.engine.system.untrusted_files import read_bytes

RESERVED = ("use", "path", "arguments", "validation", "loaders", "seed")
"""Names that an argument of a task cannot have: keys of `[task]`, and the seed."""
SETTINGS = ("use", "path", "validation", "loaders")
"""Keys of `[task]` that are no arguments."""
MOST_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class TaskReference:
    """A function that returns a task, and where it is.

    Attributes:
        folder: the folder that its module is imported from.
        module: its dotted name.
        function: its name.
        file: its file.
    """

    folder: Path
    module: str
    function: str
    file: Path

    @property
    def use(self) -> str:
        """Return `module:function`."""
        return f"{self.module}:{self.function}"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the function; `required` if it has no default.

    `default` is the default if it is a plain value: a number, a text, true or false.
    """

    name: str
    required: bool
    default: bool | int | float | str | None = None


def find_task(use: str, folder: Path, key: str = "task.use") -> TaskReference:
    """Find the module's file below a folder.

    Args:
        use: `module:function`; the module may be dotted.
        folder: the folder that the module is imported from.
        key: where `use` is written, for messages.

    Raises:
        UsageProblem: it is not of this form, or the folder has no such module.
    """
    module, colon, function = use.partition(":")
    parts = module.split(".")
    if not colon or not function.isidentifier() or not all(part.isidentifier() for part in parts):
        hint = ""
        if "/" in module or module.endswith(".py"):
            hint = f"; the folder of a file is named with {_path_option(key)}"
        raise UsageProblem(
            f"{key}: expected 'module:function', such as 'mine:make', got {shown(use)}{hint}"
        )
    base = folder.joinpath(*parts)
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if is_there(file):
            _refuse_link(file, folder, key)
            return TaskReference(folder, module, function, file)
    known = sorted(path.stem for path in folder.glob("*.py")) if len(parts) == 1 else []
    raise UsageProblem(
        f"{key}: there is no {printable(base.with_suffix('.py'))}{nearest(parts[-1], known[:20])}"
        + ("" if known else f"; the folder of a module is named with {_path_option(key)}")
    )


def _path_option(key: str) -> str:
    """Return what names another folder, where a task is written as `key`."""
    return "--path" if key == "check" else "task.path"


def _refuse_link(file: Path, folder: Path, key: str) -> None:
    """Refuse a module that lies elsewhere: trust is for the folder, and for what is in it."""
    real = Path(os.path.realpath(file))
    if not real.is_relative_to(os.path.realpath(folder)):
        raise UsageProblem(
            f"{key}: {printable(file)} is a link out of its folder, to {printable(real)}; name the "
            "folder of that file with task.path, or put the file here"
        )


def parameters_of(task: TaskReference) -> tuple[tuple[Parameter, ...], bool]:
    """Read the parameters of a task's function from its source.

    Returns:
        The parameters without the seed, and whether it takes any other keyword (`**more`).

    Raises:
        UsageProblem: the file is no Python, has no such function, or the function takes no `seed`.
    """
    where = printable(task.file)
    try:
        tree = ast.parse(read_bytes(task.file, MOST_BYTES), filename=str(task.file))
    except OSError as error:
        raise UsageProblem(f"{where}: {error.strerror or error}") from None
    except SyntaxError as error:
        raise UsageProblem(
            f"{where}, line {error.lineno}: is no valid Python: {error.msg}"
        ) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise UsageProblem(f"{where}: is no valid Python: {printable(error)}") from None
    functions = {
        node.name: node.args
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node in tree.body
    }
    if task.function not in functions:
        if _is_bound(tree, task.function):
            return (), True  # imported or assigned there, so only a run can tell its parameters
        raise UsageProblem(
            f"{where}: there is no function {task.function!r}{nearest(task.function, functions)}"
        )
    arguments = functions[task.function]
    plain = [*arguments.posonlyargs, *arguments.args]
    required = len(plain) - len(arguments.defaults)
    defaults = [*[None] * required, *arguments.defaults]
    pairs = [*zip(plain, defaults, strict=True)]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    found = [Parameter(each.arg, default is None, _plain(default)) for each, default in pairs]
    if all(each.name != "seed" for each in found) and arguments.kwarg is None:
        raise UsageProblem(
            f"{where}: {task.function} takes no seed; write `def {task.function}(seed: int, …)`"
        )
    rest = tuple(each for each in found if each.name != "seed")
    return rest, arguments.kwarg is not None


def _plain(default: ast.expr | None) -> bool | int | float | str | None:
    """Return the value of a default that is written as one; None for any other expression."""
    try:
        value = ast.literal_eval(default) if default else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, bool | int | float | str) else None


def check_arguments(task: TaskReference, names: list[str], key: str = "task.arguments") -> None:
    """Check the names of the arguments against the function's parameters, without running it.

    Raises:
        UsageProblem: a name is reserved or unknown, or a required one is missing.
    """
    for name in names:
        if name in RESERVED:
            raise UsageProblem(f"{key}.{name}: this name is taken; give the parameter another one")
    parameters, more = parameters_of(task)
    known = [each.name for each in parameters]
    for name in names:
        if name not in known and not more:
            hint = nearest(name, known)
            close = difflib.get_close_matches(name, SETTINGS, 1)
            if close and key == "task.arguments" and not difflib.get_close_matches(name, known):
                hint = f"; did you mean task.{close[0]}?"
            raise UsageProblem(f"{key}: {task.function} has no parameter {name!r}{hint}")
    missing = [each.name for each in parameters if each.required and each.name not in names]
    if missing:
        raise UsageProblem(f"{key}: {task.function} needs {', '.join(missing)}")


def _is_bound(tree: ast.Module, name: str) -> bool:
    """Return whether a module binds a name otherwise than by `def`."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound = {(each.asname or each.name).partition(".")[0] for each in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound = {each.id for each in targets if isinstance(each, ast.Name)}
        elif isinstance(node, ast.ClassDef | ast.AsyncFunctionDef):
            bound = {node.name}
        else:
            continue
        if name in bound or "*" in bound:
            return True
    return False
