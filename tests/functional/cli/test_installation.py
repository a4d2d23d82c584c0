"""What a wheel contains, and that `engine` and `tui` stay free for the user's own packages."""

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.campaign  # wheels are built

ROOT = Path(__file__).parents[3]
NEEDED = (
    "batchscope/__init__.py",
    "batchscope/__main__.py",
    "batchscope/py.typed",
    "batchscope/engine/worker.py",
    "batchscope/engine/export/report/page.html",
    "batchscope/engine/export/report/page.css",
    "batchscope/engine/presets/quickstart.toml",
    "batchscope/tui/screens/board.tcss",
)


def built(source: Path, folder: Path) -> Path:
    """The wheel of a source tree."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    subprocess.run([*command, "-w", folder, source], check=True, capture_output=True)
    (wheel,) = folder.glob("batchscope-*.whl")
    return wheel


def python_with(wheel: Path, folder: Path) -> Path:
    """The interpreter of an environment that holds a wheel, beside what this one needs."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    with zipfile.ZipFile(wheel) as content:
        content.extractall(site)
    # as lines, through which an editable installation is not followed
    needs = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    (site / "needs.pth").write_text("".join(f"{entry}\n" for entry in needs))
    return folder / "bin" / "python"


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as content:
        return set(content.namelist())


def test_a_wheel_has_one_complete_package(tmp_path: Path) -> None:
    """Also the one that is built from a source distribution, in which there are no links."""
    names = names_in(built(ROOT, tmp_path / "direct"))
    tops = {name.partition("/")[0] for name in names}
    assert {top.partition("-")[0] for top in tops} == {"batchscope"}
    assert names.issuperset(NEEDED)
    sources = {f"batchscope/{p.relative_to(ROOT)}" for d in ("engine", "tui") for p in _files(d)}
    assert names.issuperset(sources)

    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as content:
        content.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    assert names_in(built(source, tmp_path / "indirect")) == names


def _files(folder: str) -> list[Path]:
    kinds = ("*.py", "*.tcss", "*.html", "*.css")
    return [path for kind in kinds for path in (ROOT / folder).rglob(kind)]


def test_engine_and_tui_are_not_importable(tmp_path: Path) -> None:
    """Import them where they are not, and where they are somebody's own."""
    python = python_with(built(ROOT, tmp_path / "wheel"), tmp_path / "venv")
    for name in ("engine", "tui"):
        done = subprocess.run(
            [python, "-c", f"import {name}"], cwd=tmp_path, capture_output=True, text=True
        )
        assert f"No module named '{name}'" in done.stderr
    where = "import batchscope, sys; print(batchscope.__file__, 'torch' in sys.modules)"
    done = subprocess.run([python, "-c", where], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith(str(tmp_path / "venv"))
    assert done.stdout.endswith("False\n")

    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in ("engine", "tui"):
        (theirs / f"{name}.py").write_text("raise SystemExit('not ours to import')\n")
    command = "import sys; from batchscope.tui.cli.main import main; sys.exit(main())"
    small = ("--set", "train.epochs=1", "--set", "seeds=1", "--set", "grid.batch_size=[64]")
    done = subprocess.run(
        [python, "-c", command, "--preset", "quickstart", *small, "--export", "out", "--no-report"],
        cwd=theirs,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(theirs), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (theirs / "out" / "trials.csv").exists()
