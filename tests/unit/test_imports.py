"""What each kind of process loads, as a fresh interpreter's `sys.modules` says."""

import json
import pkgutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import engine
import tui

HEAVY = (
    *("torch", "torchvision", "sklearn", "matplotlib", "jinja2", "tensorboard"),
    *("ray", "fsspec"),
)
SCREEN = ("textual",)
DRAWING = tuple(
    f"engine.export.{name}" for name in ("difference", "drawing", "figures", "rendering")
)
"""The rooms of a process of its own that draws."""


def modules_of(package: str) -> list[str]:
    """Every module of a package by name, found without importing any."""
    folder = {"engine": engine, "tui": tui}[package].__path__
    found = []
    for info in pkgutil.iter_modules(folder, f"{package}."):
        found.append(info.name)
        if info.ispkg:
            inner = [str(Path(path) / info.name.rsplit(".", 1)[1]) for path in folder]
            found += [each.name for each in pkgutil.iter_modules(inner, f"{info.name}.")]
    return found


def loaded(*names: str) -> set[str]:
    """Top-level names in `sys.modules` after importing modules in a fresh interpreter."""
    script = (
        "import importlib, json, sys\n"
        f"for name in {list(names)!r}:\n"
        "    importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_the_check_itself_sees_what_is_loaded() -> None:
    assert "textual" in loaded("textual")
    assert loaded("json").isdisjoint((*HEAVY, *SCREEN))


@pytest.mark.parametrize("module", ["tui.cli", "engine.conductor", "tui.headless", "tui.display"])
def test_the_command_line_and_the_conductor_are_light(module: str) -> None:
    assert loaded(module).isdisjoint((*HEAVY, *SCREEN))


def test_the_worker_needs_torch_only_once_it_is_set_up() -> None:
    assert loaded("engine.worker").isdisjoint((*HEAVY, *SCREEN))


def test_torch_is_imported_in_the_rooms_of_training_alone() -> None:
    apart = ("engine.training", *DRAWING)
    names = [name for name in modules_of("engine") if not name.startswith(apart)]
    assert {"engine.conductor", "engine.export.bundle", "engine.prepare"} < set(names)
    assert loaded(*names).isdisjoint((*HEAVY, *SCREEN))


def test_the_engine_knows_nothing_of_screens() -> None:
    names = modules_of("engine")
    assert {"engine.training.loop", "engine.worker", "engine.export.tables"} < set(names)
    found = loaded(*names)
    assert "torch" in found
    assert found.isdisjoint((*SCREEN, "tui", "rich"))
    assert found.isdisjoint(("torchvision", "sklearn", "ray", "tensorboard")), (
        "only where they are needed"
    )


def test_a_screen_starts_without_numpy_and_psutil() -> None:
    assert loaded("tui.app", "tui.screens.board").isdisjoint(("numpy", "psutil"))


@pytest.mark.skipif(find_spec("tui.app") is None, reason="tui.app is not built yet")
def test_the_viewer_never_loads_torch() -> None:
    names = modules_of("tui")
    assert {"tui.app", "tui.cli"} < set(names)
    found = loaded(*names)
    assert "textual" in found
    assert found.isdisjoint(HEAVY)
