"""The folder of an export: refused before any training, or replaced whole, or left as it was."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchscope.engine.experiment.preset_catalog import find_preset
from tests.functional.export.export_folder import content, neighbours
from tests.functional.lab import Lab, Outcome, recorded, sets
from tests.messages import says

FILES = {
    "trials.csv",
    "epochs.csv",
    "gradient_norms.csv",
    "layer_norms.csv",
    "memory.csv",
    "bias_variance.csv",
    "findings.json",
    "sweep.toml",
    "manifest.json",
    "journal.jsonl",
}
ONE = sets("seeds=1", "train.epochs=1", "grid.batch_size=[512]")


def export(target: Path | str, *words: str) -> Outcome:
    """Export the recorded sweep."""
    return recorded().lab.run("--export", str(target), "--sweep", recorded().folder.name, *words)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place" / "out"


@pytest.fixture
def foreign(target: Path) -> Path:
    """A folder with somebody's files."""
    (target / "deep").mkdir(parents=True)
    (target / "deep" / "notes.txt").write_text("years of work")
    return target


# ---- what is written


def test_a_new_folder_also_below_folders_that_are_not_there(target: Path) -> None:
    below = target / "a" / "b"
    outcome = export(below)
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    assert outcome.out.endswith(f"\nexported to {below}\n")
    assert set(content(below)) == FILES
    assert neighbours(below) == ["b"]


def test_an_empty_folder_is_as_good_as_none(target: Path) -> None:
    target.mkdir()
    assert export(target).code == 0
    assert set(content(target)) == FILES
    assert neighbours(target) == ["out"]


def test_the_same_sweep_again_replaces_all_of_its_export(target: Path) -> None:
    assert export(target).code == 0
    before = content(target)
    assert before == content(recorded().export)
    (target / "epochs.csv").unlink()
    assert export(target).code == 0
    assert content(target) == before
    assert neighbours(target) == ["out"]


def test_a_relative_folder_is_below_the_current_one(lab: Lab) -> None:
    shutil.copytree(recorded().lab.home, lab.home)
    for words in (["out"], ["./other"]):
        outcome = lab.run("--export", *words, "--sweep", recorded().folder.name)
        assert outcome.code == 0, outcome.err
        assert set(content(lab.cwd / words[0])) == FILES


def test_the_summary_of_a_stored_sweep_as_json(target: Path) -> None:
    outcome = export(target, "--json")
    first = json.loads(recorded().outcome.out)
    assert json.loads(outcome.out) == {**first, "export": str(target)}
    assert (outcome.code, outcome.err) == (0, "")


def test_findings_are_those_of_the_summary_and_of_every_claim() -> None:
    found = json.loads((recorded().export / "findings.json").read_text())
    claims = find_preset("quickstart").claims
    assert [claim["statement"] for claim in found["claims"]] == [c.statement for c in claims]
    for claim in found["claims"]:
        assert claim["verdict"] in ("supported", "contradicted", "undetermined")
        assert claim["n"] == 2
        assert claim["low"] <= claim["effect"] <= claim["high"]
    assert [each["batch_size"] for each in found["findings"]["configurations"]] == [64, 512]
    summary = json.loads(recorded().outcome.out)
    assert summary["claims"] == found["claims"]
    assert summary["recommendation"] == found["recommendation"]


def test_the_summary_in_words_tells_claims_and_recommendation(target: Path) -> None:
    outcome = export(target)
    found = json.loads((target / "findings.json").read_text())
    for claim in found["claims"]:
        mark = {"supported": "✓", "contradicted": "✗", "undetermined": "?"}[claim["verdict"]]
        assert f"\n{mark} {claim['statement']}\n  {claim['verdict']}  " in outcome.out
    assert f"\n\n{found['recommendation']}\n" in outcome.out


def test_a_link_to_a_folder_leaves_nothing_half_made_beside_it(target: Path) -> None:
    real = target.with_name("real")
    real.mkdir()
    target.symlink_to(real)
    for _ in range(2):
        assert export(target).code == 0
        assert set(content(target)) == FILES
        assert neighbours(target) == ["out", "real"]


# ---- what is refused, before anything runs


def test_a_folder_that_holds_something_else_is_refused(foreign: Path) -> None:
    before = content(foreign)
    outcome = export(foreign)
    assert outcome.code == 2
    assert outcome.message == (
        f"--export {foreign}: holds other files; "
        "name another folder, or add --overwrite to write into it"
    )
    assert content(foreign) == before
    assert neighbours(foreign) == ["out"]


def test_a_sweep_whose_journal_is_missing_is_named(lab: Lab, target: Path) -> None:
    never = lab.home / "sweeps" / "20270101-080000-never"
    never.mkdir(parents=True)
    (never / "launch.json").write_text('{"preset": "never"}')
    outcome = lab.run("--export", str(target), "--sweep", never.name)
    assert outcome.code == 2
    assert says(outcome.message, f"{never / 'journal.jsonl'}: is missing | nothing to export")
    assert not target.exists()


def test_the_export_of_another_sweep_is_refused(target: Path) -> None:
    shutil.copytree(recorded().export, target)
    manifest = json.loads((target / "manifest.json").read_text())
    (target / "manifest.json").write_text(json.dumps({**manifest, "sweep": "another"}))
    before = content(target)
    outcome = export(target)
    assert outcome.code == 2
    assert outcome.message.startswith(f"--export {target}: holds the export of sweep another; ")
    assert content(target) == before


@pytest.mark.parametrize("manifest", [b"", b"{", b"[]", b"3", b'{"sweep": "x"}', b"\xff", None])
def test_a_folder_whose_manifest_is_none_holds_something_else(
    target: Path, manifest: bytes | None
) -> None:
    target.mkdir()
    if manifest is None:
        (target / "manifest.json").mkdir()
    else:
        (target / "manifest.json").write_bytes(manifest)
    outcome = export(target)
    assert outcome.code == 2
    assert "holds other files" in outcome.message
    assert list(target.iterdir()) == [target / "manifest.json"]


def test_a_manifest_with_escape_sequences_does_not_reach_the_terminal(target: Path) -> None:
    target.mkdir()
    manifest = {"program": "batchscope", "sweep": "\x1b[2J\nnew line"}
    (target / "manifest.json").write_text(json.dumps(manifest))
    outcome = export(target)
    assert outcome.code == 2
    assert "holds the export of sweep" in outcome.message


def test_a_new_run_is_refused_before_any_training(lab: Lab, foreign: Path) -> None:
    finished = recorded().export
    for folder in (foreign, finished):
        before = content(folder)
        outcome = lab.run("--export", str(folder), *ONE)
        assert outcome.code == 2
        assert "add --overwrite to write into it" in outcome.message
        assert content(folder) == before
    assert lab.listed() == []
    assert lab.folders() == []


def test_a_file_is_refused(lab: Lab, target: Path) -> None:
    target.write_text("a file")
    for outcome in (lab.run("--export", str(target), *ONE, "--overwrite"), export(target)):
        assert outcome.code == 2
        assert outcome.message == f"--export {target}: is a file; name a folder"
    assert target.read_text() == "a file"
    assert lab.folders() == []


# ---- overwriting


def test_overwrite_keeps_the_files_that_no_export_made(foreign: Path) -> None:
    (foreign / "trials.csv").write_text("a,b\n")
    outcome = export(foreign, "--overwrite")
    assert outcome.code == 0
    assert "kept as trials.csv.changed" in outcome.err
    kept = content(foreign)
    assert set(kept) == FILES | {"deep/notes.txt", "trials.csv.changed"}
    assert kept["deep/notes.txt"] == b"years of work"
    assert kept["trials.csv.changed"] == b"a,b\n"
    assert neighbours(foreign) == ["out"]


def test_overwrite_replaces_the_export_of_another_sweep(target: Path) -> None:
    shutil.copytree(recorded().export, target)
    manifest = json.loads((target / "manifest.json").read_text())
    (target / "manifest.json").write_text(json.dumps({**manifest, "sweep": "another"}))
    (target / "mine.txt").write_text("mine")
    assert (export(target, "--overwrite").code, export(target).err) == (0, "")
    assert content(target) == {**content(recorded().export), "mine.txt": b"mine"}


def test_the_folder_of_the_sweeps_is_no_place_for_an_export(lab: Lab) -> None:
    shutil.copytree(recorded().lab.home, lab.home)
    before = content(lab.home)
    for place in (lab.home, lab.home / "sweeps", lab.home.parent):
        for more in (["--sweep", recorded().folder.name], ONE):
            outcome = lab.run("--export", str(place), "--overwrite", *more)
            assert outcome.code == 2
            assert says(outcome.message, f"--export {place}: | the stored sweeps")
    assert content(lab.home) == before


def test_the_folder_of_a_stored_sweep_is_no_place_for_an_export(lab: Lab, tmp_path: Path) -> None:
    """The sweep would show the results of the exported one."""
    shutil.copytree(recorded().lab.home, lab.home)
    name = recorded().folder.name
    other = tmp_path / "elsewhere" / "sweeps" / name
    shutil.copytree(recorded().folder, other)
    places = (lab.home / "sweeps" / name, lab.home / "sweeps" / "new", other)
    before = content(lab.home), content(other)
    for place in places:
        for more in (["--sweep", name], ONE):
            outcome = lab.run("--export", str(place), "--overwrite", *more)
            assert outcome.code == 2
            assert says(outcome.message, f"--export {place}: | a stored sweep")
    assert (content(lab.home), content(other)) == before
    within = lab.home / "sweeps" / name / "tables"
    assert lab.run("--export", str(within), "--no-report", "--sweep", name).code == 0


# ---- folders that cannot be written


def test_a_path_below_a_file_cannot_be_written(lab: Lab, target: Path) -> None:
    target.write_text("a file")
    null = Path("/dev/null")
    for file, path in ((target, target / "x"), (target, target / "far" / "x"), (null, null / "x")):
        outcome = lab.run("--export", str(path), *ONE)
        assert outcome.code == 2
        assert outcome.message == f"--export {path}: {file} is a file, not a folder"
    assert lab.folders() == []


def test_a_name_too_long_for_the_disk_cannot_be_written(lab: Lab) -> None:
    outcome = lab.run("--export", "x" * 300, *ONE)
    assert outcome.code in (2, 3)
    assert "File name too long" in outcome.message
    assert lab.folders() == []


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A small disk of memory."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a disk of memory needs rights that are not there")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_mounted_disk_is_refused_before_any_training(lab: Lab, mounted: Path) -> None:
    outcome = lab.run("--export", str(mounted), *ONE)
    assert outcome.code == 2
    assert outcome.message == f"--export {mounted}: is a mounted disk; name a folder inside it"
    assert lab.folders() == []


def test_a_read_only_disk_is_refused_before_any_training(lab: Lab, mounted: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    for target in (mounted / "out", mounted / "deep" / "out"):
        outcome = lab.run("--export", str(target), *ONE)
        assert outcome.code == 3
        assert outcome.message == f"--export {target}: Read-only file system"
    home = lab.run("--export", "out", *ONE, "--home", str(mounted / "home"))
    assert home.code == 3
    assert "Read-only file system" in home.message
    assert "--home" in home.message
    listing = lab.run("list", "--home", str(mounted / "home"))
    assert (listing.code, listing.out) == (0, "")
    assert listing.err == f"no sweeps are stored in {mounted / 'home'}\n"
    assert lab.folders() == []


def test_a_full_disk_leaves_the_old_export_as_it_was(mounted: Path) -> None:
    target = mounted / "out"
    target.mkdir()
    old = {"program": "batchscope", "sweep": recorded().folder.name}
    (target / "manifest.json").write_text(json.dumps(old))
    (target / "filling").write_bytes(b"x" * 20_000)
    before = content(target)
    outcome = export(target)
    assert outcome.code == 3
    assert outcome.message == f"--export {target}: No space left on device"
    assert content(target) == before
    assert neighbours(target) == ["out"]
