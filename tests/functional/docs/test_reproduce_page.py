"""The listings of `docs/reproduce.md` against real sweeps: weights, accuracy, loss."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.functional.lab import SHARED_DATA, Lab, needs_mnist, sets
from tests.reproduce_page import PAGE, code_of, listing
from tests.torchvision_compat import import_torchvision

UNMOVED = 1e-30
"""A learning rate at which no step changes a bit of the weights."""


def kept(lab: Lab, *words: str) -> tuple[Path, dict[str, dict[str, str]]]:
    """Run a sweep that keeps its weights; return the export, and its trials by name."""
    out = lab.cwd / "out"
    done = lab.run("--export", str(out), "--weights", *sets("run.keep_weights=true"), *words)
    assert done.code == 0, done.err
    with open(out / "trials.csv") as file:
        return out, {row["trial"]: row for row in csv.DictReader(file)}


def printed(folder: Path, name: str, *words: str) -> dict[str, float]:
    """Run a listing as a program, and return the numbers that it prints by their names."""
    (folder / name).write_text(code_of(name))
    done = subprocess.run(
        [sys.executable, name, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    found = {}
    for part in done.stdout.replace("\n", ", ").split(", "):
        text, _, number = part.rpartition(" ")
        if number:
            found[text.rpartition(": ")[2]] = float(number)
    return found


def test_the_page_trains_a_trial_again(lab: Lab, tmp_path: Path) -> None:
    page = listing("retrain.py")
    lr, size, epochs = page["LR"], page["BATCH_SIZE"], page["EPOCHS"]
    settings = (f"grid.batch_size=[{size}]", f"grid.lr=[{lr}, {UNMOVED}]", f"train.epochs={epochs}")
    out, trials = kept(lab, "--preset", "quickstart", *sets("seeds=2", *settings))
    for seed in (0, 1):
        start = load_file(out / "weights" / f"b64-lr1e-30-s{seed}.safetensors")
        ours = page["initial_network"](seed).state_dict()
        assert set(start) == set(ours)
        assert all(torch.equal(start[name], ours[name]) for name in ours), "to the last bit"

    row = trials[f"b64-lr0.1-s{page['SEED']}"]
    accuracy, loss = float(row["test_accuracy"]), float(row["test_loss"])
    file = out / "weights" / f"{row['trial']}.safetensors"
    again = printed(tmp_path, "retrain.py", str(file))
    assert again["largest difference of a weight"] < 1e-5
    assert again["test loss"] == pytest.approx(loss, rel=1e-4)
    assert again["test accuracy"] == pytest.approx(accuracy, abs=1.5 / 360)

    loaded = printed(tmp_path, "load.py", str(file))
    assert loaded["test accuracy"] == pytest.approx(accuracy, abs=1e-6), "the same images are right"
    assert loaded["test loss"] == pytest.approx(loss, abs=1e-6)


def test_the_trial_of_the_page_is_one_of_quickstart() -> None:
    import tomllib

    page = listing("retrain.py")
    preset = tomllib.loads((PAGE.parents[1] / "presets" / "quickstart.toml").read_text())
    assert preset["train"] == {"lr": page["LR"], "epochs": page["EPOCHS"]}
    assert page["BATCH_SIZE"] in preset["grid"]["batch_size"]
    assert preset["model"] == {"name": "mlp", "hidden": [128, 64]}


PRESET = """
title = "Two networks"
[data]
name = "mnist"
[model]
name = "lenet"
[train]
batch_size = 256
lr = 0.1
steps = 60
[[cells]]
"model.name" = "lenet"
[[cells]]
"model.name" = "cnn"
"model.channels" = [4, 8]
"model.batch_norm" = true
"""


@needs_mnist
@pytest.mark.slow
def test_mnist_is_classified_alike_by_plain_torch(lab: Lab) -> None:
    (lab.cwd / "two.toml").write_text(PRESET)
    out, trials = kept(lab, "--preset", "./two.toml", "--data-dir", str(SHARED_DATA))
    import_torchvision()
    page = listing("load.py")
    images, labels = page["test_images"]("mnist", str(SHARED_DATA))
    assert len(trials) == 2
    for name, row in trials.items():
        network, facts = page["load"](str(out / "weights" / f"{name}.safetensors"))
        assert facts["trial"] == name
        accuracy, loss = page["evaluate"](network, images, labels)
        assert accuracy == float(row["test_accuracy"]) > 0.5
        assert loss == pytest.approx(float(row["test_loss"]), rel=1e-5)
