"""`--weights` copies the weights that a sweep kept, says which are missing, or refuses at once."""

import hashlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from batchscope.engine.checkpoints.kept_weights import NAME, file_of
from batchscope.engine.export.bundle import write_export
from batchscope.engine.export.weights import without_weights
from batchscope.engine.sweeps.listing import describe
from batchscope.engine.system.files import folder_bytes
from tests.dictionary import check_export
from tests.functional.export.export_folder import content
from tests.functional.lab import Lab, copy_of_recorded, recorded, sets, state_of

SMALL = sets("seeds=2", "train.epochs=2", "grid.batch_size=[64]", "model.hidden=[8]")
KEEP = sets("run.keep_weights=true")
DIVERGING = """
title = "Some diverge"
seeds = 2
[data]
name = "digits"
[model]
name = "mlp"
hidden = [8]
[train]
batch_size = 64
lr = 0.05
epochs = 2
[run]
keep_weights = true
[[cells]]
label = "fine"
[[cells]]
label = "too fast"
lr = 1e30
[[cells]]
label = "not kept"
batch_size = 128
"run.keep_weights" = false
"""


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def test_weights_are_exported_with_their_checksums(lab: Lab, tmp_path: Path) -> None:
    (lab.cwd / "some.toml").write_text(DIVERGING)
    done = lab.run("--preset", "./some.toml", "--export", "out", "--weights")
    assert done.code == 0, done.err
    out, folder = lab.cwd / "out", lab.only_folder()
    finished = [name for name, t in state_of(folder).trials.items() if t.weights]
    assert len(finished) == 2, "of two configurations one diverges, and one does not keep them"
    listed = manifest(out)
    for each in listed["weights"]:
        exported = (out / each["file"]).read_bytes()
        assert each["file"] == f"weights/{each['trial']}.safetensors"
        assert (len(exported), hashlib.sha256(exported).hexdigest()) == (
            each["bytes"],
            each["sha256"],
        )
        assert exported == file_of(folder, each["trial"]).read_bytes()
    check_export(out, "weights")
    assert [each["trial"] for each in listed["weights"]] == finished
    reasons = {each["trial"]: each["reason"] for each in listed["without_weights"]}
    assert sorted(reasons.values()) == ["diverged"] * 2 + ["run.keep_weights is false"] * 2
    (line,) = [line for line in done.err.splitlines() if "no weights of" in line]
    assert "warning" in line
    assert all(f"{trial} ({reason})" in line for trial, reason in reasons.items())

    size = describe(folder).bytes
    assert size == folder_bytes(folder) > sum(each["bytes"] for each in listed["weights"])
    write_export(folder, tmp_path / "again", report=False, weights=True)
    assert content(tmp_path / "again") == content(out)
    write_export(folder, tmp_path / "plain", report=False)
    assert not (tmp_path / "plain" / "weights").exists()
    assert "weights" not in manifest(tmp_path / "plain")
    assert lab.run("delete", folder.name, "--yes").code == 0
    assert not folder.exists()


def test_lost_and_changed_files_are_named_and_left_out(lab: Lab) -> None:
    done = lab.run("--preset", "quickstart", *SMALL, *KEEP, "--export", "out", "--quiet")
    assert done.code == 0, done.err
    folder = lab.only_folder()
    lost, changed = (file_of(folder, f"b64-s{seed}") for seed in (0, 1))
    lost.unlink()
    with open(changed, "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    again = lab.run("--sweep", folder.name, "--export", "out", "--weights", "--quiet")
    assert again.code == 0, again.err
    assert len(again.err.splitlines()) == 1
    assert re.search(r"b64-s0 \(.*No such file.*b64-s1 \(.*wrong checksum", again.err)
    assert list((lab.cwd / "out" / "weights").iterdir()) == []


# ---- refused


@pytest.fixture
def stored(tmp_path: Path) -> Lab:
    return copy_of_recorded(tmp_path)


def refusal(lab: Lab, *words: str) -> str:
    before = sorted(lab.cwd.iterdir())
    outcome = lab.run(*words)
    assert outcome.code == 2
    assert sorted(lab.cwd.iterdir()) == before, "nothing is written"
    return outcome.message


def test_without_the_key_a_run_is_refused_before_it_begins(lab: Lab) -> None:
    for also in ([], sets("run.keep_weights=false")):
        message = refusal(lab, "--preset", "quickstart", "--export", "out", "--weights", *also)
        assert "--set run.keep_weights=true" in message
        assert lab.folders() == []
    assert "--export" in refusal(lab, "--preset", "quickstart", "--weights")


def test_the_refusal_has_the_commands_that_train_them_again(stored: Lab) -> None:
    """They are run as they stand, and give the weights that the sweep would have kept."""
    folder = stored.only_folder()
    message = refusal(stored, "--sweep", folder.name, "--export", "my out", "--weights")
    assert "run.keep_weights" in message
    (commands,) = re.findall(r"`(batchscope .*?)`", message)
    for command in commands.split(" && "):
        done = stored.run(*shlex.split(command)[1:], "--quiet")
        assert done.code == 0, done.err
    out = stored.cwd / "my out-with-weights"
    again = stored.folders()[-1]
    assert again != folder
    first, second = state_of(folder), state_of(again)
    assert set(first.plans.values()) == set(second.plans.values())
    assert len(manifest(out)["weights"]) == len(first.trials) == len(list(out.glob("weights/*")))
    for name, trial in first.trials.items():
        other = second.trials[name]
        assert trial.last
        assert other.last
        assert trial.last.test_loss == other.last.test_loss, "to the last bit"
        assert trial.last.weight_norm == other.last.weight_norm
        tensors = load_file(out / "weights" / f"{name}.safetensors")
        square = sum(float(tensor.double().square().sum()) for tensor in tensors.values())
        assert square**0.5 == pytest.approx(trial.last.weight_norm, rel=1e-6)


def test_the_commands_need_what_the_first_ones_needed(stored: Lab) -> None:
    """Another home, a device, a folder of images."""
    folder = stored.only_folder()
    launch = json.loads((folder / "launch.json").read_text())
    del launch["sum"]  # as in a file that a person writes
    (folder / "launch.json").write_text(
        json.dumps({**launch, "device": "cpu", "data_dir": "/my images"})
    )
    home = ["--home", str(stored.home)]
    message = refusal(stored, "--sweep", folder.name, "--export", "out", "--weights", *home)
    export, train = re.findall(r"`(.*?)`", message)[0].split(" && ")
    assert shlex.join(home) in export
    assert shlex.join(home) in train
    assert "--device cpu --data-dir '/my images'" in train
    assert "--overwrite" not in message


def test_the_commands_need_overwrite_where_the_refused_one_did(stored: Lab) -> None:
    name = stored.only_folder().name
    (stored.cwd / "mine").mkdir()
    (stored.cwd / "mine" / "notes.txt").write_text("not an export")
    words = ["--sweep", name, "--export", "mine", "--weights"]
    message = refusal(stored, *words)
    assert "mine" in message
    assert "run.keep_weights" not in message, "the folder would be in the way of its commands"
    export = re.findall(r"`(.*?)`", refusal(stored, *words, "--overwrite"))[0].split(" && ")[0]
    done = stored.run(*shlex.split(export)[1:], "--quiet", "--no-report")
    assert done.code == 0, done.err


def test_a_full_disk_leaves_the_earlier_export(lab: Lab, monkeypatch: Any) -> None:
    """The disk is full at the second file."""
    from batchscope.engine.checkpoints import kept_weights
    from batchscope.engine.errors import MachineProblem

    done = lab.run("--preset", "quickstart", *SMALL, *KEEP, "--export", "out", "--quiet")
    assert done.code == 0, done.err
    out, real, calls = lab.cwd / "out", kept_weights.copy, list[Path]()
    before = content(out)

    def full(source: Path, target: Path, digest: str, size: int | None = None) -> int:
        calls.append(target)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real(source, target, digest, size)

    monkeypatch.setattr(kept_weights, "copy", full)
    with pytest.raises(MachineProblem, match="No space left"):
        write_export(lab.only_folder(), out, report=False, weights=True)
    assert len(calls) == 2
    assert content(out) == before
    assert sorted(path.name for path in lab.cwd.iterdir()) == ["out"]


def test_many_trials_without_weights_are_one_short_line() -> None:
    trials = [{"trial": f"b8-s{seed}", "reason": "failed"} for seed in range(30)]
    line = without_weights({"without_weights": trials})
    assert "30 trials" in line
    assert "b8-s0 (failed)" in line
    assert "22 more" in line
    assert len(line) < 300
    assert without_weights({}) == ""


def test_a_stored_sweep_of_an_earlier_program_has_no_weights() -> None:
    state = state_of(recorded().folder)
    assert all(trial.weights is None for trial in state.trials.values())
    assert NAME not in {path.name for path in recorded().folder.rglob("*")}


def test_bits_do_not_depend_on_whether_weights_are_kept(lab: Lab) -> None:
    words = ["--preset", "quickstart", *SMALL, "--quiet"]
    for name, also in (("one", []), ("other", KEEP)):
        assert lab.run(*words, *also, "--export", name).code == 0
    one, other = (state_of(folder) for folder in lab.folders())
    for name, trial in one.trials.items():
        assert trial.last
        twin = other.trials[name].last
        assert twin
        assert trial.last.test_loss == twin.test_loss
        assert trial.last.distance_from_init == twin.distance_from_init
        stored = load_file(file_of(lab.folders()[-1], name))
        assert all(tensor.dtype == torch.float32 for tensor in stored.values())
