"""The presets of the current and of a personal folder, for the menu."""

import os
from pathlib import Path

import pytest

from batchscope.engine.experiment import preset_folders
from batchscope.engine.experiment.preset_catalog import preset_files, preset_folder
from batchscope.engine.experiment.preset_folders import found_presets

OWN = """title = "Own"
[data]
name = "digits"
[model]
name = "mlp"
[train]
epochs = 1
lr = 0.1
[grid]
batch_size = [8, 64]
"""


def names(of: str, *folders: Path | None) -> list[str]:
    return [each.name for each in found_presets(*folders) if each.origin == of]


def test_the_shipped_presets_come_first() -> None:
    found = found_presets()
    assert [each.path for each in found] == list(preset_files().values())
    assert all(each.origin == "shipped" and each.preset for each in found)


def test_presets_of_the_current_and_of_the_personal_folder_have_their_origin(
    tmp_path: Path,
) -> None:
    for name in ("here", "mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.toml").write_text(OWN)
    here, mine = tmp_path / "here", tmp_path / "mine"
    assert names("current", here, mine) == ["here"]
    assert names("personal", here, mine) == ["mine"]
    assert len({each.path for each in found_presets(here, here)}) == len(found_presets(here))
    assert names("current", preset_folder(), tmp_path / "missing") == []


def test_other_toml_files_of_the_current_folder_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(OWN)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\ntitle = "y"\n')
    (tmp_path / "hugo.toml").write_text('title = "A blog"\nbaseURL = "x"\n')
    (tmp_path / ".hidden.toml").write_text(OWN)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "deep.toml").write_text(OWN)
    assert names("current", tmp_path) == ["own"]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (OWN + "[nonsense]\n", "nonsense"),
        (OWN + "[[[", "not valid TOML"),
        ("[grid]\nbatch_size = [8]\n", "title"),
        (
            f'title = "x"\n[task]\nuse = "missing:make"\n[train]{OWN.partition("[train]")[2]}',
            "missing",
        ),
    ],
)
def test_a_wrong_preset_has_its_problem(tmp_path: Path, content: str, word: str) -> None:
    (tmp_path / "wrong.toml").write_text(content)
    (tmp_path / "right.toml").write_text(OWN)
    found = {each.name: each for each in found_presets(tmp_path) if each.origin == "current"}
    assert found["right"].preset
    assert found["wrong"].preset is None
    assert word in found["wrong"].problem
    assert "wrong.toml" in found["wrong"].problem
    assert all(line.isprintable() for line in found["wrong"].problem.split("\n"))


def test_odd_files_are_no_exception(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "looped.toml").symlink_to("looped.toml")
    (tmp_path / "gone.toml").symlink_to("nowhere")
    (tmp_path / "binary.toml").write_bytes(b"[grid]\n\xff\0")
    (tmp_path / "large.toml").write_text(OWN + "#" * preset_folders.MOST_BYTES)
    assert names("current", tmp_path) == ["binary"]
    personal = [each for each in found_presets(None, tmp_path) if each.origin == "personal"]
    assert [each.name for each in personal] == [
        "binary",
        "folder",
        "gone",
        "large",
        "looped",
        "pipe",
    ]
    assert all(each.problem and each.preset is None for each in personal)


def test_of_a_huge_folder_only_so_many_files_are_read(tmp_path: Path) -> None:
    for number in range(preset_folders.MOST_FILES + 20):
        (tmp_path / f"{number:04}.toml").write_text("[grid]\n")
    assert len(names("current", tmp_path)) == preset_folders.MOST_FILES
