"""The modules that each kind of process loads, by `sys.modules` of a new interpreter."""

import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import pytest

import batchscope.engine
import batchscope.tui

ROOT = Path(__file__).parents[2]
HEAVY = (
    *("torch", "torchvision", "safetensors", "sklearn", "matplotlib", "jinja2", "tensorboard"),
    *("ray", "fsspec"),
)
SCREEN = ("textual",)
ENGINE, TUI = "batchscope.engine", "batchscope.tui"
DRAWING = (
    f"{ENGINE}.comparison.plot",
    *(f"{ENGINE}.export.{name}" for name in ("plot_style", "figures", "report.render")),
)
"""The modules of the separate process that draws figures."""


def modules_of(package: str) -> list[str]:
    """Return the names of all modules of a package, at every depth, without importing them."""
    top = {ENGINE: batchscope.engine, TUI: batchscope.tui}[package]
    found, todo = [], [(path, package) for path in top.__path__]
    while todo:
        folder, within = todo.pop()
        for info in pkgutil.iter_modules([folder], f"{within}."):
            found.append(info.name)
            if info.ispkg:
                todo.append((str(Path(folder) / info.name.rpartition(".")[2]), info.name))
    return found


def among(packages: Iterable[str], name: str) -> bool:
    """Return whether a module is one of these packages or inside one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def loaded(*names: str) -> set[str]:
    """Return the modules that a new interpreter has after these imports: top-level, and ours."""
    script = (
        "import importlib, json, sys\n"
        f"for name in {list(names)!r}:\n"
        "    importlib.import_module(name)\n"
        "print(json.dumps(list(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {name.partition(".")[0] for name in found} | {
        name for name in found if name.startswith("batchscope.")
    }


def test_the_check_itself_sees_what_is_loaded() -> None:
    assert "textual" in loaded("textual")
    assert loaded("json").isdisjoint((*HEAVY, *SCREEN))


def test_every_depth_is_looked_at() -> None:
    for package in (ENGINE, TUI):
        folder = ROOT / package.rpartition(".")[2]
        files = {path.relative_to(folder).with_suffix("") for path in folder.rglob("*.py")}
        names = {".".join((package, *file.parts)).removesuffix(".__init__") for file in files}
        assert names - {package} == set(modules_of(package))


def test_the_package_is_cheap_and_is_all_that_is_installed() -> None:
    found = loaded("batchscope")
    ours = {name for name in found if name.startswith("batchscope.")}
    assert ours == {"batchscope.engine", "batchscope.engine.errors", "batchscope.engine.task"}
    assert found.isdisjoint((*HEAVY, *SCREEN, "numpy", "msgspec"))
    assert find_spec("engine") is None
    assert find_spec("tui") is None


@pytest.mark.parametrize(
    "module",
    [
        "batchscope.tui.cli.main",
        "batchscope.engine.conductor",
        "batchscope.tui.headless.follower",
        "batchscope.tui.headless.live_progress",
    ],
)
def test_the_command_line_and_the_conductor_are_light(module: str) -> None:
    assert loaded(module).isdisjoint((*HEAVY, *SCREEN))


def test_the_worker_needs_torch_only_once_it_is_set_up() -> None:
    assert loaded("batchscope.engine.worker").isdisjoint((*HEAVY, *SCREEN))


def test_torch_is_imported_in_training_alone() -> None:
    apart = (f"{ENGINE}.training", *DRAWING)
    names = [name for name in modules_of(ENGINE) if not among(apart, name)]
    assert {
        "batchscope.engine.conductor",
        "batchscope.engine.export.bundle",
        "batchscope.engine.data.prepare",
    } < set(names)
    assert loaded(*names).isdisjoint((*HEAVY, *SCREEN))


TRAINED = """
import sys
from pathlib import Path

from batchscope.engine.spec import Model, Train
from batchscope.engine.training.batches import load_images
from batchscope.engine.training.jobs.micro_batch_bench import measure
from tests.unit.engine.training.jobs.bench_fixtures import order_of
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
    """Importing the compiler takes a second and 70 MiB in each worker."""
    folders = [tmp_path / "here", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", TRAINED, *map(str, folders)],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "sgd False\nadam True\n"


def test_a_module_of_the_user_named_like_a_folder_of_ours_is_theirs(tmp_path: Path) -> None:
    """Many training scripts have an `engine.py`, which must take precedence in their worker."""
    for name in ("engine", "tui"):
        (tmp_path / f"{name}.py").write_text(f"MINE = {name!r}\n", encoding="utf-8")
    script = (
        "import batchscope.engine.worker, batchscope.engine.training.trainer.trainer\n"
        "import engine, tui\n"
        "print(engine.MINE, tui.MINE)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "engine tui\n"


def test_none_of_our_modules_imports_engine_or_tui(tmp_path: Path) -> None:
    for name in ("engine", "tui"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(__name__)\n", encoding="utf-8")
    script = (
        "import importlib, sys\n"
        f"for name in {[*modules_of(ENGINE), *modules_of(TUI)]!r}:\n"
        "    importlib.import_module(name)\n"
        "print([name for name in ('engine', 'tui') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"


def test_the_engine_knows_nothing_of_screens() -> None:
    names = modules_of(ENGINE)
    assert {
        "batchscope.engine.training.trainer.trainer",
        "batchscope.engine.worker",
        "batchscope.engine.analysis.tables",
    } < set(names)
    found = loaded(*names)
    assert "torch" in found
    assert found.isdisjoint((*SCREEN, TUI, "rich"))
    assert found.isdisjoint(("torchvision", "sklearn", "ray", "tensorboard")), (
        "only where they are needed"
    )


def test_a_screen_starts_without_numpy_and_psutil() -> None:
    found = loaded("batchscope.tui.app", "batchscope.tui.screens.board")
    assert found.isdisjoint(("numpy", "psutil"))


def test_the_viewer_never_loads_torch() -> None:
    names = modules_of(TUI)
    assert {"batchscope.tui.app", "batchscope.tui.cli.main"} < set(names)
    found = loaded(*names)
    assert "textual" in found
    assert found.isdisjoint(HEAVY)
