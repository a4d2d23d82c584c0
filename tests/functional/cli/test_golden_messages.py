"""The texts of the command line: every kind of mistake with its exit code, help, and doctor."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.data.mnist_files import MNIST_FILES
from batchscope.engine.data.prepare import prepare
from batchscope.engine.devices import nvml
from batchscope.engine.devices.devices import Device, Reading
from batchscope.engine.devices.torch_probe import SeenGpu, TorchSeen
from batchscope.engine.errors import Problem
from batchscope.tui.cli import doctor
from batchscope.tui.cli.main import run
from batchscope.tui.cli.parser import build_parser
from tests import golden
from tests.functional.board_fixtures import conductor_of, finished_sweep
from tests.unit.engine.data.raw_file_fixtures import (
    archive,
    batch,
    idx,
    some_bytes,
    some_labels,
    write_cifar10,
    write_mnist,
)

PRESET = """\
title = "Mine"
[data]
name = "digits"
[model]
name = "mlp"
[train]
batch_size = 64
lr = 0.1
epochs = 4
"""
WRONG_WORDS = (
    "--exprot out",
    "-x",
    "lst",
    "bogus",
    "list more",
    "resume",
    "stop",
    "stop x --all",
    "--preset",
    "--workers 0",
    "--workers many",
    "--memory-limit 2G",
    "--memory-limit much",
    "--memory-limit 0",
    "--memory-limit 1.5",
    "--gpu-share 2.5",
    "--log-format yaml",
    "--theme drak",
    "--sweep x",
    "--export out --sweep x --preset quickstart",
    "--export= --preset quickstart",
    "--overwrite",
    "--no-report",
    "--tensorboard",
    "--data-dir nowhere",
    "--data-dir ~nobody-of-this-name/x",
    "--device tpu",
    "--device cuda:x",
    "--gpu-share 0.5",
    "--on rya",
    "--on ray://head",
    "--on auto --device cuda:1",
    "--checkpoints x",
    "--preset quickstrat",
    "--preset xyzzy",
    "--preset no.toml",
    "--preset .",
    "--set batch_size",
    "--set lr=0.1",
    "--set xyzzy=1",
    "--set title.x=1",
    "--set grid.batch_size=[8",
    "--set train.learning=0.1",
    "--set grid.batch_sizes=[8]",
    "--set seeds=20000",
    "--export file",
    "--export file/below",
    "--home file list",
    "list --home file",
    "attach nope",
    "attach --overlay nope",
    "attach --overlay=",
    "attach 2027",
    "resume quikstart",
    "pause nope",
    "delete quickstart",
    "delete 20270115-080000-quickstart",
    "delete 20270115-080001-quickstart --yes",
    "stop 20270115-080000-quickstart",
    "resume 20270115-080000-quickstart",
    "compare 20270115-080000-quickstart nope",
    "compare 20270115-080000-quickstart 20270115-080001-quickstart --figure x.pdf",
    "compare 20270115-080000-quickstart 20270115-080001-quickstart --figure no/x.svg",
)
WRONG_LINES = (
    ("batch_size = 64", "batch_size = 0"),
    ("batch_size = 64", "batch_size = 7.5"),
    ("batch_size = 64", 'batch_size = "big"'),
    ("batch_size = 64", ""),
    ("lr = 0.1", "lr = nan"),
    ("lr = 0.1", "learning_rate = 0.1"),
    ("lr = 0.1", "lr = "),
    ("epochs = 4", ""),
    ("epochs = 4", "epochs = 4\nsteps = 3"),
    ("epochs = 4", "epoch = 4"),
    ("epochs = 4", "epochs = 4\ntarget_accuracy = 0.5\ntarget_loss = 1"),
    ("epochs = 4", "epochs = 4\ntarget_checks = 2"),
    ("epochs = 4", 'epochs = 4\noptimizer = "adamm"'),
    ("epochs = 4", 'epochs = 4\noptimizer = "nesterov"\nmomentum = 0'),
    ("[model]", "[modle]"),
    ('name = "mlp"', 'name = "vgg19"'),
    ('name = "mlp"', 'name = "mlp"\nchannels = [8]'),
    ('name = "digits"', 'name = "digits"\nvalidation = 0.9999'),
    ('title = "Mine"', ""),
    ('title = "Mine"', "title = 3"),
    ('title = "Mine"', 'title = "x"\ngrid = 3'),
    ('title = "Mine"', 'title = "x"\nselect = 3'),
    ('title = "Mine"', 'title = "x"\ncells = 3'),
    ('title = "Mine"', 'title = "x"\nphases = 3'),
)
MORE_TABLES = (
    '[memory]\nlimit = "2G"',
    "[memory]\nmicro_batch_size = true",
    '[scaling]\nrule = "linear"',
    '[scaling]\nrule = "adam-sqrt"\nbase_batch_size = 8',
    "[run]\ndata_parallel = 65",
    "[probe]\nbatch_sizes = [8]",
    "[probe]\nat = [0]\npairs = [[8, 12]]",
    "[sharpness]\nepsilon = [1e-3, 1e-3]",
    "[grid]\nbatch_size = 8",
    "[grid]\nbatch_size = [8, 8]",
    '[grid]\nname = ["digits"]',
    "[grid]\nlr = [1]\ntrain.lr = [2]",
    "[grid]\nhiden = [[8]]",
    "[[cells]]\nlable = 3",
    "[[cells]]\nlabel = 3",
    '[select]\nby = "validation_loss"',
    "[select]\nlr = 0.1",
    "[select]\nvalidation = [0.1, 0.2]",
    "[select]\nlr = [0.1, 0.2]\n[grid]\nlr = [1]",
    '[select]\nlr = [0.1, 0.2]\nby = "steps_to_target"',
    "[[phases]]\nset = { lr = 1 }",
    "[[phases]]\nat = 0.5",
    "[[phases]]\nat = 0.5\nset = { momentum = 0.5 }",
    "[[phases]]\nat_epoch = 9\nset = { lr = 1 }",
    "[[phases]]\nat = 0.5\nset = { lr = 1 }\nwhere = { batch_size = 65 }",
    "[[phases]]\nat = 0.5\nset = { lr = 1 }\n[[phases]]\nat_epoch = 2\nset = { lr = 2 }",
    '[schedule]\nkind = "step"',
    '[schedule]\nkind = "step"\nat = [0.5]',
    '[schedule]\nkind = "step"\nat = [0.5, 0.25]\nfactor = 2',
    "[schedule]\nbatch_warmup_epochs = 1",
    "[schedule]\nbatch_warmup_epochs = 1\nbatch_warmup_start = 64",
    "[interpolation]\nfrom = { batch_size = 64 }",
    "[interpolation]\nfrom = 3\nto = { batch_size = 64 }",
    "[interpolation]\nfrom = { batch_size = 8 }\nto = { batch_size = 64 }",
    "[interpolation]\nfrom = { batch_size = 64 }\nto = { batch_size = 64 }",
    '[[claims]]\nstatement = "x"',
    '[[claims]]\nstatement = "x"\nmeasure = "steps"\ntrend = "up"\nover = "batch_size"',
    '[[claims]]\nstatement = "x"\nmeasure = "acuracy"\ntrend = "increasing"\nover = "batch_size"',
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file and two stored sweeps, of which the second has a conductor."""
    monkeypatch.chdir(tmp_path)
    for name in ("BATCHSCOPE_HOME", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BATCHSCOPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "file").write_text("")
    for second in (0, 1):
        (tmp_path / "home" / "sweeps").mkdir(parents=True, exist_ok=True)
        finished_sweep(tmp_path / "home", f"20270115-08000{second}-quickstart")
    return tmp_path


def said(call: Callable[[], int], capsys: pytest.CaptureFixture[str]) -> str:
    """What a call prints, with its exit code."""
    try:
        code = call()
    except Problem as problem:
        return f"  [{problem.exit_code}] {problem}"
    except SystemExit as end:
        code = int(end.code or 0)
    text = "".join(capsys.readouterr()).strip()
    return f"  [{code}] {text}"


def preset_mistakes(here: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[str]:
    path = here / "mine.toml"
    for old, new in WRONG_LINES:
        path.write_text(PRESET.replace(old, new))
        yield f"{old!r} → {new!r}"
        yield said(lambda: run(["--preset", "mine.toml", "--export", "out"]), capsys)
    for more in MORE_TABLES:
        path.write_text(f"{PRESET}{more}\n")
        yield repr(more)
        yield said(lambda: run(["--preset", "mine.toml", "--export", "out"]), capsys)
    for content in (b"", b"\x00\xff\xfe\x80", b"just words"):
        path.write_bytes(content)
        yield repr(content)
        yield said(lambda: run(["--preset", "mine.toml", "--export", "out"]), capsys)


def data_mistakes(here: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[str]:
    def read(name: str, folder: Path) -> str:
        def call() -> int:
            prepare(name, here / "prepared", folder)
            return 0

        return said(call, capsys)

    yield "no such folder"
    yield read("mnist", here / "nowhere")
    yield "a file for a folder"
    yield read("mnist", here / "file")
    (here / "empty").mkdir()
    for name in ("mnist", "cifar10"):
        yield f"an empty folder for {name}"
        yield read(name, here / "empty")
    images, labels = MNIST_FILES[0], MNIST_FILES[1]
    whole = idx(some_bytes(20, 28, 28))
    wrong = (
        (images, b""),
        (images, b"<html>404</html>"),
        (images, whole[:-1]),
        (images, whole + b"!"),
        (images, whole[:6]),
        (images, idx(some_bytes(4), kind=0x0D)),
        (images, idx(some_bytes(2, 2, 2, 2))),
        (images, idx(some_bytes(0, 28, 28))),
        (images, idx(some_bytes(20, 32, 32))),
        (labels, idx(some_labels(19))),
        (labels, idx(some_bytes(20, 1, 1))),
        (labels, idx(some_bytes(20))),
    )
    for index, (name, content) in enumerate(wrong):
        folder = here / f"mnist{index}"
        write_mnist(folder)
        (folder / name).write_bytes(content)
        yield f"{name} with {content[:8]!r}… ({len(content):,} bytes)"
        yield read("mnist", folder)
    write_mnist(here / "missing")
    (here / "missing" / labels).unlink()
    yield f"without {labels}"
    yield read("mnist", here / "missing")
    for index, content in enumerate(
        (b"", batch(4, 0, labels=[10] * 4), batch(4, 0, data=some_bytes(4, 8)), b"cos\nsystem\n.")
    ):
        folder = here / f"cifar{index}"
        write_cifar10(folder)
        (folder / "data_batch_1").write_bytes(content)
        yield f"data_batch_1 with {content[:16]!r}"
        yield read("cifar10", folder)
    (here / "archive").mkdir()
    content = archive({"data_batch_1": batch(1, 0)})
    (here / "archive" / "cifar-10-python.tar.gz").write_bytes(content)
    yield "an archive with one batch"
    yield read("cifar10", here / "archive")


def checkpoint_mistakes(here: Path) -> Iterator[str]:
    checkpoints.write(here / "trial", 1, 10, b"payload")
    whole = (here / "trial" / checkpoints.CURRENT).read_bytes()
    size = len(whole) - len(b"payload")
    changed = whole[:20] + b"!" + whole[21:]
    for name, content in {
        "truncated": whole[:-1],
        "changed": whole[:-1] + b"D",
        "header truncated": whole[: size - 1],
        "header changed": changed,
        "another file": b"x" * len(whole),
    }.items():
        (here / "trial" / "it.pt").write_bytes(content)
        with pytest.raises(checkpoints.Damaged) as caught:
            checkpoints.read(here / "trial" / "it.pt")
        yield name
        yield f"  {caught.value}"


def helps(capsys: pytest.CaptureFixture[str]) -> Iterator[str]:
    """The help of the program and of each command, without the usage, which argparse words."""
    for words in ([], *([name] for name in build_parser().commands)):
        with pytest.raises(SystemExit):
            run([*words, "--help"])
        yield f"---- {' '.join(['batchscope', *words])}"
        yield capsys.readouterr().out.partition("\n\n")[2].rstrip()


def doctor_checks(here: Path) -> Iterator[str]:
    """The checks of doctor, on machines that are made up."""

    def words_of(*checks: doctor.Check) -> Iterator[str]:
        yield from (f"{each.name} [{each.state}]: {'; '.join(each.words)}" for each in checks)

    gpu = Device("cuda:0", "a GPU", "GPU-11111111-2222-3333-4444-555555555555")
    uuid = str(gpu.handle).removeprefix("GPU-")
    full = Reading(
        total=80 << 30,
        used=1 << 30,
        available=79 << 30,
        processes=(),
        utilization=7,
        temperature=40,
        power=90.0,
    )
    yield from words_of(doctor._gpu(gpu, full), doctor._gpu(gpu, Reading()))
    for gpus in ((), (SeenGpu("a GPU", uuid),), (SeenGpu("a GPU", "1"),)):
        seen = TorchSeen("2.9.0", "12.8", True, gpus, 1.5, "", "AVX2")
        yield from words_of(*doctor._torch(seen, [gpu]))
    for each in (
        None,
        TorchSeen(error="ImportError: no such file"),
        TorchSeen("2.9.0", None, seconds=1.0, cpu_capability="DEFAULT"),
        TorchSeen("2.9.0", "12.8", error="no driver", cpu_capability="AVX512"),
    ):
        yield from words_of(*doctor._torch(each, [gpu]))
    yield from words_of(doctor._package("no-such-package", "Textual", "lacking", "no screen"))
    for home in (here / "file", here / "home"):
        yield from words_of(*doctor._home(str(home)))
    (here / "home" / "data" / "digits-bundled").mkdir()
    yield from words_of(doctor._data(here / "home" / "data"))
    yield nvml.NO_DRIVER


def masked(text: str, here: Path) -> str:
    """The text without what differs between machines and versions of Python."""
    text = text.replace(str(here), "HERE").replace(str(Path.cwd()), "HERE")
    text = re.sub(r"/\S*/presets/", "PRESETS/", text)
    text = re.sub(r"\(choose from .*?\)", lambda m: m[0].replace("'", ""), text)
    text = re.sub(r"known: auto, cpu.*", "known: auto, cpu …", text)
    text = re.sub(r"[\w.+]+ is installed, but", "VERSION is installed, but", text)
    return re.sub(r"[\d.,]+ (B|KiB|MiB|GiB|TiB)\b", r"N \1", text)


def test_the_texts_of_the_command_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def mistakes() -> Iterator[str]:
        with conductor_of(here / "home" / "sweeps" / "20270115-080001-quickstart"):
            for words in WRONG_WORDS:
                yield words
                yield said(lambda words=words: run(words.split(" ")), capsys)  # type: ignore[misc]
        yield "stop --all, and no sweep is running"
        yield said(lambda: run(["stop", "--all"]), capsys)

    parts = (
        ("command line", mistakes()),
        ("presets", preset_mistakes(here, capsys)),
        ("data files", data_mistakes(here, capsys)),
        ("checkpoints", checkpoint_mistakes(here)),
        ("help", helps(capsys)),
        ("doctor", doctor_checks(here)),
    )
    text = "\n".join("\n".join((f"==== {name}", *lines)) for name, lines in parts)
    golden.check("messages", masked(text, here))
