import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.preset import Preset, load_preset
from batchscope.engine.sweeps import launch_file
from batchscope.engine.sweeps.launcher import start_conductor
from batchscope.engine.sweeps.prewarm import Standby
from batchscope.engine.sweeps.store import Launch, create_sweep
from batchscope.engine.sweeps.trust import (
    NAME,
    NotTrusted,
    allow,
    check_preset,
    check_sweep,
    check_trusted,
    revoke,
    sweep_question,
    trust,
    trust_for,
    trust_for_sweep,
    trust_question,
    trusted_exports,
    trusted_folders,
)

TASK = "def make(seed, width=8):\n    raise RuntimeError\n"
PRESET = """title = "Mine"
[task]
use = "mine:make"
[train]
lr = 0.1
epochs = 1
[grid]
batch_size = [8]
"""


def preset_in(folder: Path, *assignments: str, name: str = "mine.toml") -> Preset:
    (folder / "mine.py").write_text(TASK)
    (folder / name).write_text(PRESET)
    return load_preset(folder / name, assignments)


@pytest.fixture
def code() -> Iterator[Path]:
    """A folder that other users can reach, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = Path(name).resolve() / "code"
        folder.mkdir(mode=0o755)
        yield folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    return folder


def test_a_folder_is_not_trusted_at_first(home: Path, code: Path) -> None:
    with pytest.raises(NotTrusted, match="batchscope trust") as caught:
        check_trusted(home, code)
    assert caught.value.folder == code


def test_a_trusted_folder_stays_so_when_it_changes(home: Path, code: Path) -> None:
    trust(home, code)
    check_trusted(home, code)
    (code / "mine.py").write_text("changed = True")
    check_trusted(home, code)
    assert [each.path for each in trusted_folders(home)] == [str(code)]


def test_trust_is_for_the_folder_behind_a_link(home: Path, code: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(code)
    assert trust(home, tmp_path / "link") == code
    check_trusted(home, code)
    other = tmp_path / "other"
    other.mkdir(mode=0o755)
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to(other)
    with pytest.raises(NotTrusted):
        check_trusted(home, tmp_path / "link")


def test_a_folder_that_became_a_link_is_asked_about_again(
    home: Path, code: Path, tmp_path: Path
) -> None:
    trust(home, code)
    code.rename(tmp_path / "elsewhere")
    code.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotTrusted):
        check_trusted(home, code)


@pytest.mark.parametrize("mode", [0o777, 0o757, 0o1777])
def test_a_folder_that_others_may_write_is_refused(home: Path, code: Path, mode: int) -> None:
    trust(home, code)
    code.chmod(mode)
    with pytest.raises(NotTrusted, match="can write"):
        check_trusted(home, code)
    with pytest.raises(NotTrusted, match="can write"):
        trust(home, code)


def test_trusts_given_at_the_same_time_are_all_kept(home: Path, code: Path) -> None:
    """Each answer replaces the whole file, so two at once must not undo each other."""
    folders = [code / str(number) for number in range(8)]
    for each in folders:
        each.mkdir(mode=0o755)
    go = Barrier(len(folders))

    def answer(folder: Path) -> None:
        go.wait(60.0)
        trust(home, folder)

    with ThreadPoolExecutor(len(folders)) as threads:
        list(threads.map(answer, folders))
    assert {each.path for each in trusted_folders(home)} == set(map(str, folders))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_owner_is_asked_about_again(home: Path, code: Path) -> None:
    trust(home, code)
    os.chown(code, 61000, 61000)
    with pytest.raises(NotTrusted):
        check_trusted(home, code)


def test_trust_is_revoked(home: Path, code: Path) -> None:
    trust(home, code)
    revoke(home, code)
    with pytest.raises(NotTrusted):
        check_trusted(home, code)
    with pytest.raises(UsageProblem, match="is not trusted"):
        revoke(home, code)


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b'{"folders": 3}', b"\xff"])
def test_a_damaged_file_trusts_nothing(home: Path, code: Path, content: bytes) -> None:
    trust(home, code)
    (home / NAME).write_bytes(content)
    with pytest.raises(NotTrusted):
        check_trusted(home, code)
    trust(home, code)
    check_trusted(home, code)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_trusts_nothing(code: Path) -> None:
    home = code.parent / "home"
    home.mkdir()
    home.chmod(0o1777)
    trust(home, code)
    check_trusted(home, code)
    os.chown(home / NAME, 61000, 61000)
    with pytest.raises(NotTrusted):
        check_trusted(home, code)


def test_a_home_that_is_missing_is_made(tmp_path: Path, code: Path) -> None:
    question = trust_question(tmp_path / "new", preset_in(code))
    assert question
    allow(tmp_path / "new", question)
    check_trusted(tmp_path / "new", code)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_preset_of_an_export_says_how_to_name_its_code(code: Path) -> None:
    (code / "sweep.toml").write_text(PRESET)
    with pytest.raises(UsageProblem, match=r"--set task\.path=DIR"):
        load_preset(code / "sweep.toml")
    other = code.parent / "other"
    other.mkdir(mode=0o755)
    preset_in(other)
    preset = load_preset(code / "sweep.toml", [f"task.path={other}"])
    assert (preset.task_folder, preset.exported) == (str(other), True)


def test_the_folder_of_the_code_cannot_vary(code: Path) -> None:
    preset_in(code)
    with pytest.raises(UsageProblem, match=r"task\.path"):
        load_preset(code / "mine.toml", ['grid.task.path=["", "."]'])


def test_a_link_in_the_place_of_the_file_trusts_nothing(
    home: Path, code: Path, tmp_path: Path
) -> None:
    trust(home, code)
    (home / NAME).rename(tmp_path / "planted.json")
    (home / NAME).symlink_to(tmp_path / "planted.json")
    with pytest.raises(NotTrusted):
        check_trusted(home, code)


def test_a_preset_without_a_task_asks_nothing(home: Path, code: Path) -> None:
    text = PRESET.replace('[task]\nuse = "mine:make"', '[data]\nname = "digits"')
    (code / "plain.toml").write_text(f'{text}[model]\nname = "mlp"\n')
    preset = load_preset(code / "plain.toml")
    assert trust_question(home, preset) is None
    check_preset(home, preset)


def test_a_question_names_the_folder_and_is_answered_once(home: Path, code: Path) -> None:
    preset = preset_in(code)
    question = trust_question(home, preset)
    assert question
    assert (question.folder, question.refused, question.digest) == (code, False, "")
    assert str(code) in question.text
    with pytest.raises(NotTrusted):
        check_preset(home, preset)
    allow(home, question)
    assert trust_question(home, preset) is None
    check_preset(home, preset)


def test_a_folder_that_others_may_write_to_has_no_answer(home: Path, code: Path) -> None:
    preset = preset_in(code)
    code.chmod(0o777)
    question = trust_question(home, preset)
    assert question
    assert question.refused
    assert "can write" in question.text
    with pytest.raises(NotTrusted):
        allow(home, question)
    assert trusted_folders(home) == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_a_stranger_has_no_answer(home: Path, code: Path) -> None:
    preset = preset_in(code)
    trust(home, code)
    os.chown(code, 61000, 61000)
    question = trust_question(home, preset)
    assert question
    assert question.refused
    assert "another user" in question.text


def test_a_path_out_of_the_folder_of_the_preset_is_asked_about(home: Path, code: Path) -> None:
    other = code.parent / "other"
    other.mkdir(mode=0o755)
    preset_in(other)
    (code / "mine.toml").write_text(PRESET)
    preset = load_preset(code / "mine.toml", ["task.path=../other"])
    trust(home, code)
    question = trust_question(home, preset)
    assert question
    assert question.folder == other


def test_a_preset_that_is_a_link_is_asked_about_where_it_leads(home: Path, code: Path) -> None:
    other = code.parent / "other"
    other.mkdir(mode=0o755)
    preset_in(other)
    (code / "mine.toml").symlink_to(other / "mine.toml")
    trust(home, code)
    question = trust_question(home, load_preset(code / "mine.toml"))
    assert question
    assert question.folder == other


@pytest.mark.parametrize("way", ["name", "plan", "neighbours"])
def test_a_preset_of_an_export_is_not_trusted_by_its_folder(
    home: Path, code: Path, way: str
) -> None:
    preset = preset_in(code, name="sweep.toml" if way == "name" else "mine.toml")
    if way == "plan":
        (code / "mine.toml").write_text(f"plan = []\n{PRESET}")
    if way == "neighbours":
        for name in ("manifest.json", "trials.csv"):
            (code / name).write_text("")
    preset = load_preset(code / f"{preset.name}.toml")
    trust(home, code)
    question = trust_question(home, preset)
    assert question
    assert question.digest
    allow(home, question)
    check_preset(home, preset)
    revoke(home, code)
    assert trusted_exports(home) == ()
    with pytest.raises(NotTrusted, match="export"):
        check_preset(home, preset)


@pytest.mark.parametrize("kind", ["folder", "module"])
def test_the_digest_of_an_export_is_of_where_links_lead(home: Path, code: Path, kind: str) -> None:
    """Both targets are in the digest already, so only the link tells which of them is run."""
    for name in ("old", "new"):
        (code / name).mkdir()
        (code / name / "__init__.py").write_text("")
        (code / name / "part.py").write_text("")
    link, (one, other) = code / "link", ("old", "new")
    if kind == "module":
        link, (one, other) = code / "link.py", ("old/part.py", "new/part.py")
    link.symlink_to(one)
    preset = preset_in(code, name="sweep.toml")
    trust_for(home, code, preset)
    check_preset(home, preset)
    link.unlink()
    link.symlink_to(other)
    with pytest.raises(NotTrusted, match="export"):
        check_preset(home, preset)


def test_the_digest_of_an_export_is_of_its_table_and_of_its_modules(home: Path, code: Path) -> None:
    (code / "package").mkdir()
    (code / "package" / "inner.py").write_text("")
    preset = preset_in(code, name="sweep.toml")
    trust_for(home, code, preset)
    assert trusted_folders(home) == ()
    check_preset(home, preset)
    check_preset(home, load_preset(code / "sweep.toml", ["train.lr=0.2", "seeds=3"]))
    (code / "notes.txt").write_text("no module")
    check_preset(home, preset)
    for assignment in ("task.width=9", "grid.task.width=[8, 9]", "task.validation=0.5"):
        with pytest.raises(NotTrusted, match="export"):
            check_preset(home, load_preset(code / "sweep.toml", [assignment]))
    (code / "package" / "inner.py").write_text("changed = True")
    with pytest.raises(NotTrusted, match="export"):
        check_preset(home, preset)
    (code / "package" / "inner.py").write_text("")
    check_preset(home, preset)
    (code / "third-party").mkdir()  # which their code may put on `sys.path`
    for added in ("added.py", "third-party/part.py"):
        (code / added).write_text("")
        with pytest.raises(NotTrusted, match="export"):
            check_preset(home, preset)
        (code / added).unlink()
        check_preset(home, preset)


def test_one_trusted_preset_of_an_export_does_not_trust_another_one_there(
    home: Path, code: Path
) -> None:
    trust_for(home, code, preset_in(code, name="sweep.toml"))
    own = preset_in(code)
    with pytest.raises(NotTrusted):
        check_preset(home, own)


def stored(home: Path, preset: Preset) -> Path:
    return create_sweep(home, preset, Launch(preset=preset.name))


def test_a_stored_sweep_is_not_resumed_without_trust(home: Path, code: Path) -> None:
    folder = stored(home, preset_in(code))
    with pytest.raises(NotTrusted, match="batchscope trust"):
        start_conductor(folder)
    with pytest.raises(NotTrusted, match="batchscope trust"):
        Standby().conduct(folder)
    question = sweep_question(folder)
    assert question
    assert question.folder == code
    allow(home, question)
    check_sweep(folder)
    (code / "mine.py").write_text(f"{TASK}# one's own edit")
    check_sweep(folder)
    code.chmod(0o757)
    with pytest.raises(NotTrusted, match="can write"):
        start_conductor(folder)


def test_a_stored_sweep_whose_folder_was_swapped_is_not_resumed(home: Path, code: Path) -> None:
    folder = stored(home, preset_in(code))
    trust(home, code)
    check_sweep(folder)
    evil = code.parent / "evil"
    evil.mkdir(mode=0o755)
    code.rename(code.parent / "away")
    code.symlink_to(evil)
    with pytest.raises(NotTrusted, match=str(evil)):
        start_conductor(folder)


def test_a_sweep_of_an_export_is_trusted_by_digest_when_it_is_resumed(
    home: Path, code: Path
) -> None:
    folder = stored(home, preset_in(code, name="sweep.toml"))
    assert launch_file.read_launch(folder).exported
    trust(home, code)
    with pytest.raises(NotTrusted, match="export"):
        check_sweep(folder)
    trust_for_sweep(folder, code)
    check_sweep(folder)
    (code / "mine.py").write_text(f"{TASK}# changed")
    with pytest.raises(NotTrusted, match="export"):
        check_sweep(folder)


def test_too_many_modules_beside_a_preset_of_an_export_are_refused(home: Path, code: Path) -> None:
    preset = preset_in(code, name="sweep.toml")
    for number in range(2001):
        (code / f"m{number}.py").touch()
    question = trust_question(home, preset)
    assert question
    assert question.refused
    assert "modules" in question.text


def test_a_task_on_a_cluster_is_refused_before_anything_is_written(home: Path, code: Path) -> None:
    preset = preset_in(code)
    with pytest.raises(UsageProblem, match=r"not possible with \[task\] yet"):
        create_sweep(home, preset, Launch(preset=preset.name, on="ray"))
    assert list(home.iterdir()) == []


def test_a_stored_sweep_of_a_task_that_was_moved_to_a_cluster_is_refused(
    home: Path, code: Path
) -> None:
    folder = stored(home, preset_in(code))
    trust(home, code)
    launch = launch_file.Launch(preset="mine", on="ray", task_folder=str(code))
    (folder / launch_file.LAUNCH).write_bytes(launch_file.encoded(launch))
    with pytest.raises(UsageProblem, match=r"not possible with \[task\] yet"):
        start_conductor(folder)


def foreign(code: Path, elsewhere: Path, *assignments: str) -> Preset:
    """Return a preset of another folder that names the code by its path."""
    preset_in(code)
    elsewhere.mkdir(mode=0o755)
    text = PRESET.replace("[task]\n", f'[task]\npath = "{code}"\n')
    (elsewhere / "mine.toml").write_text(text)
    return load_preset(elsewhere / "mine.toml", assignments)


def test_a_preset_from_elsewhere_does_not_use_the_trust_of_a_folder(home: Path, code: Path) -> None:
    elsewhere = code.parent / "elsewhere"
    preset = foreign(code, elsewhere)
    trust(home, code)
    with pytest.raises(NotTrusted, match="mine:make") as caught:
        check_preset(home, preset)
    assert caught.value.folder == elsewhere
    check_preset(home, preset, own=elsewhere)  # the folder of the user's own presets
    question = trust_question(home, preset)
    assert question
    assert (question.folder, question.runs, question.refused) == (elsewhere, "mine:make", False)
    allow(home, question)
    check_preset(home, preset)
    assert trust_question(home, preset) is None
    revoke(home, code)
    with pytest.raises(NotTrusted) as caught:  # its own folder is not enough either
        check_preset(home, preset)
    assert caught.value.folder == code


def test_a_folder_that_is_named_on_the_command_line_is_not_asked_about_twice(
    home: Path, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = code.parent / "elsewhere"
    preset = foreign(code, elsewhere, f"task.path={code}")
    trust(home, code)
    check_preset(home, preset)
    monkeypatch.chdir(elsewhere)
    check_preset(home, load_preset(elsewhere / "mine.toml"))  # one's current folder


def test_the_function_that_is_run_is_named(home: Path, code: Path) -> None:
    preset = preset_in(code)
    with pytest.raises(NotTrusted, match="mine:make"):
        check_preset(home, preset)
    question = trust_question(home, preset)
    assert question
    assert question.runs == "mine:make"
    of_sweep = sweep_question(stored(home, preset))
    assert of_sweep
    assert of_sweep.runs == "mine:make"
