"""`batchscope delete` needs the complete ID and --yes, and rejects a running sweep."""

from pathlib import Path

import pytest

from batchscope.engine.errors import UsageProblem
from batchscope.tui.cli.main import run
from tests.functional.board_fixtures import conductor_of, finished_sweep, home
from tests.messages import says

__all__ = ["home"]


def refusal(home: Path, *words: str) -> str:
    with pytest.raises(UsageProblem) as caught:
        run(["delete", "--home", str(home), *words])
    return str(caught.value)


def test_a_sweep_is_deleted_with_yes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = finished_sweep(home, "20270114-080000-large")
    folder = finished_sweep(home)
    expected = f"{folder.name}: 12 of 12 trials, 108 KiB | --yes"
    assert says(refusal(home, folder.name), expected)
    assert folder.is_dir()
    assert run(["delete", "--home", str(home), folder.name, "--yes"]) == 0
    assert says(capsys.readouterr().out, f"{folder.name}: 12 of 12 trials, 108 KiB | deleted\n")
    assert not folder.exists()
    assert kept.is_dir()


def test_a_part_of_an_id_is_not_enough(home: Path) -> None:
    folder = finished_sweep(home)
    message = refusal(home, "quickstart", "--yes")
    assert says(message, f"delete quickstart: | did you mean {folder.name!r}?")
    assert "no stored sweep 'nope'" in refusal(home, "nope", "--yes")
    assert folder.is_dir()


def test_a_running_sweep_is_not_deleted(home: Path) -> None:
    folder = finished_sweep(home)
    with conductor_of(folder):
        assert refusal(home, folder.name, "--yes").endswith("running; stop it first")
    assert folder.is_dir()
