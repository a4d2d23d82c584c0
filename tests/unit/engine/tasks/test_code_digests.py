"""Which modules of a person's folder are run, and what is recorded of them.

Each case runs in a process of its own, because a folder is installed once in a process.
"""

import hashlib
import json
import os
import py_compile
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

RUN = """
import importlib, json, sys
from pathlib import Path
from batchscope.engine.tasks.code_digests import CodeDigests, CodeRefused
folder, module, known = sys.argv[1:]
said = {}
try:
    code = CodeDigests(Path(folder), json.loads(known))
    code.install()
    importlib.import_module(module)
    code.check()
except CodeRefused as refused:
    said = {"refused": str(refused), "files": refused.files}
else:
    said = {"digests": code.digests, "lately": code.loaded_lately()}
print(json.dumps(said))
"""


@pytest.fixture
def code() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = Path(name).resolve() / "code"
        folder.mkdir(mode=0o755)
        yield folder


def imported(folder: Path, module: str, known: Mapping[str, str] | None = None) -> dict[str, Any]:
    command = [sys.executable, "-P", "-c", RUN, str(folder), module, json.dumps(known or {})]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_module_of_the_folder_is_recorded(code: Path) -> None:
    (code / "package").mkdir()
    (code / "package" / "inner.py").write_text("x = 1\n")
    (code / "utils.py").write_text("x = 2\n")
    (code / "mine.py").write_text("import json, utils\nfrom package import inner\n")
    names = ["mine.py", "package/inner.py", "utils.py"]
    said = imported(code, "mine", {"utils.py": digest(code / "utils.py")})
    assert said["digests"] == {name: digest(code / name) for name in names}
    assert sorted(said["lately"]) == names[:2]


@pytest.mark.parametrize(
    "content", ["import utils\n", "try:\n    import utils\nexcept BaseException:\n    pass\n"]
)
def test_a_changed_module_is_refused_by_name_also_if_they_catch_it(
    code: Path, content: str
) -> None:
    ran = code.parent / "ran"
    (code / "mine.py").write_text(content)
    (code / "utils.py").write_text(f"open({str(ran)!r}, 'w')\n")
    said = imported(code, "mine", {"utils.py": "0" * 64})
    assert said["files"] == ["utils.py"]
    assert "utils.py" in said["refused"]
    assert "--accept-code" in said["refused"]
    assert not ran.exists()


@pytest.mark.parametrize("name", ["outside.py", "outside"])
def test_a_link_out_of_the_folder_is_not_run(code: Path, name: str) -> None:
    ran, target = code.parent / "ran", code.parent / name
    write = f"open({str(ran)!r}, 'w')\n"
    if target.suffix:
        target.write_text(write)
    else:
        target.mkdir()
        (target / "__init__.py").write_text(write)
    (code / name).symlink_to(target)
    (code / "mine.py").write_text("import outside\n")
    said = imported(code, "mine")
    assert "link out of the trusted folder" in said["refused"]
    assert not ran.exists()


BY_PATH = """
import importlib.util
from pathlib import Path
spec = importlib.util.spec_from_file_location("other", Path(__file__).with_name("by_path.py"))
spec.loader.exec_module(importlib.util.module_from_spec(spec))
"""


def test_a_module_that_is_loaded_by_its_path_is_recorded_too(code: Path) -> None:
    ran, inner = code.parent / "ran", code / "by_path.py"
    inner.write_text(f"open({str(ran)!r}, 'w')\n")
    (code / "mine.py").write_text(BY_PATH)
    assert imported(code, "mine")["digests"]["by_path.py"] == digest(inner)
    assert ran.exists()
    ran.unlink()
    assert imported(code, "mine", {"by_path.py": "0" * 64})["files"] == ["by_path.py"]
    inner.rename(code.parent / "elsewhere.py")
    inner.symlink_to(code.parent / "elsewhere.py")
    assert "link out of the trusted folder" in imported(code, "mine")["refused"]
    assert not ran.exists()


def test_a_link_within_the_folder_is_run(code: Path) -> None:
    (code / "real.py").write_text("x = 1\n")
    (code / "mine.py").symlink_to("real.py")
    assert list(imported(code, "mine")["digests"]) == ["real.py"]


@pytest.mark.parametrize("at", ["package", "package/inner.py"])
def test_what_others_may_write_to_is_not_run(code: Path, at: str) -> None:
    ran = code.parent / "ran"
    (code / "package").mkdir(mode=0o755)
    (code / "package" / "inner.py").write_text(f"open({str(ran)!r}, 'w')\n")
    (code / "mine.py").write_text("from package import inner\n")
    (code / at).chmod(0o777)
    said = imported(code, "mine")
    assert "can write" in said["refused"]
    assert said["files"] == ["package/inner.py"]
    assert not ran.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_module_of_a_stranger_is_not_run(code: Path) -> None:
    (code / "mine.py").write_text("")
    os.chown(code / "mine.py", 61000, 61000)
    assert "another user" in imported(code, "mine")["refused"]


def test_a_folder_that_became_a_link_is_not_entered(code: Path) -> None:
    (code / "mine.py").write_text("")
    code.rename(code.parent / "evil")
    code.symlink_to(code.parent / "evil")
    assert "link" in imported(code, "mine")["refused"]


def test_bytecode_is_neither_read_nor_written(code: Path) -> None:
    (code / "mine.py").write_text("import utils\nassert utils.x == 1\n")
    (code / "utils.py").write_text("x = 2\n")
    py_compile.compile(str(code / "utils.py"))
    planted = list((code / "__pycache__").iterdir())
    status = (code / "utils.py").stat()
    (code / "utils.py").write_text("x = 1\n")
    os.utime(code / "utils.py", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "utils.py" in imported(code, "mine")["digests"]
    assert list((code / "__pycache__").iterdir()) == planted
