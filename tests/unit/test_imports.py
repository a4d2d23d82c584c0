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


TRAINED = """
import sys
from pathlib import Path

from engine.spec import Model, Train
from engine.training.images import load_images
from engine.training.measuring import measure
from tests.unit.test_measuring import order_of
from tests.unit.training_fixtures import CPU, Run, make_trial, synthetic

here, other = Path(sys.argv[1]), Path(sys.argv[2])
images = load_images(synthetic(here, train=80, test=40), CPU)
for optimizer in ("sgd", "adam"):
    for model in (Model(name="mlp", hidden=(5,)), Model(name="cnn", channels=(2, 3), hidden=(5,))):
        trial = make_trial(Train(batch_size=16, lr=0.1, epochs=1, optimizer=optimizer), model)
        assert measure(order_of(trial, images, other, 1 << 30), images, CPU).shapes
        assert Run(trial, images).ended.status == "finished"
    print(optimizer, "torch._dynamo" in sys.modules)
"""


def test_plain_sgd_does_without_the_compiler_of_torch(tmp_path: Path) -> None:
    """Which takes a second and 70 MiB of each worker."""
    folders = [tmp_path / "here", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", TRAINED, *map(str, folders)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "sgd False\nadam True\n"


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
