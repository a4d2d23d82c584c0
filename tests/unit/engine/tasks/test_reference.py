from pathlib import Path

import pytest

from batchscope.engine.errors import UsageProblem
from batchscope.engine.tasks.reference import Parameter, check_arguments, find_task, parameters_of

SOURCE = """
raise SystemExit("this file is read, never run")

def make(seed, width, depth=2, *, dropout=0.1, task="x"):
    ...

def open_ended(seed, **more): ...

def without_seed(width): ...
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(SOURCE)
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("def make(seed): ...")
    (tmp_path / "pack" / "inner.py").write_text("from mine import make as build")
    (tmp_path / "broken.py").write_text("def make(seed:\n")
    return tmp_path


def test_a_module_and_a_package_are_found(folder: Path) -> None:
    assert find_task("mine:make", folder).file == folder / "mine.py"
    assert find_task("pack:make", folder).file == folder / "pack" / "__init__.py"
    assert find_task("pack.inner:build", folder).file == folder / "pack" / "inner.py"


@pytest.mark.parametrize(
    "use", ["mine", "mine:", ":make", "mi ne:make", "mine:a.b", "../mine:make"]
)
def test_another_form_is_refused(use: str, folder: Path) -> None:
    with pytest.raises(UsageProblem, match="expected 'module:function'"):
        find_task(use, folder)


@pytest.mark.parametrize("use", ["os:system", "subprocess:run", "pack.outer:make"])
def test_only_modules_of_the_folder_are_used(use: str, folder: Path) -> None:
    with pytest.raises(UsageProblem, match="there is no"):
        find_task(use, folder)


def test_the_nearest_module_is_named(folder: Path) -> None:
    with pytest.raises(UsageProblem, match="did you mean 'mine'"):
        find_task("mien:make", folder)


def test_parameters_are_read_without_running_the_file(folder: Path) -> None:
    found, more = parameters_of(find_task("mine:make", folder))
    assert found == (
        Parameter("width", True),
        Parameter("depth", False, 2),
        Parameter("dropout", False, 0.1),
        Parameter("task", False, "x"),
    )
    assert not more
    assert parameters_of(find_task("mine:open_ended", folder)) == ((), True)


def test_an_imported_function_takes_anything(folder: Path) -> None:
    assert parameters_of(find_task("pack.inner:build", folder)) == ((), True)


@pytest.mark.parametrize(
    ("use", "names", "said"),
    [
        ("mine:make", ["width", "dept"], "did you mean 'depth'"),
        ("mine:make", ["depth"], "make needs width"),
        ("mine:make", ["width", "seed"], "this name is taken"),
        ("mine:mak", [], "did you mean 'make'"),
        ("mine:without_seed", ["width"], "takes no seed"),
        ("broken:make", [], "line 1: is no valid Python"),
    ],
)
def test_what_does_not_fit_is_named(use: str, names: list[str], said: str, folder: Path) -> None:
    with pytest.raises(UsageProblem, match=said):
        check_arguments(find_task(use, folder), names)


@pytest.mark.parametrize("content", [b"\0", b"\xff\xfe", b"(" * 5000 + b")" * 5000])
def test_what_is_no_python_is_refused_in_words(content: bytes, folder: Path) -> None:
    (folder / "mine.py").write_bytes(content)
    with pytest.raises(UsageProblem, match="no valid Python"):
        parameters_of(find_task("mine:make", folder))


def test_a_setting_that_is_written_wrong_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def make(seed, width=1): ...\n")
    task = find_task("mine:make", tmp_path)
    with pytest.raises(UsageProblem, match=r"did you mean task\.loaders"):
        check_arguments(task, ["loader"])
    with pytest.raises(UsageProblem, match="did you mean 'width'"):
        check_arguments(task, ["widht"])
