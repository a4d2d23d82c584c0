"""Claims about configurations that `--set` removes."""

from pathlib import Path

import pytest

from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.experiment.preset_catalog import find_preset
from tests.unit.engine.left_out_preset import PRESET


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    path = tmp_path / "two.toml"
    path.write_text(PRESET)
    return path


def test_a_claim_without_its_batch_size_is_left_out_with_a_note(preset: Path) -> None:
    changed = load_preset(preset, ["grid.batch_size=[8,16]"])
    assert changed.claims == ()
    assert changed.raw["claims"] == []
    assert changed.notes == ("claim left out, with nothing to compare: 'Larger is worse'",)


def test_a_claim_that_still_has_both_sides_stays(preset: Path) -> None:
    changed = load_preset(preset, ["grid.batch_size=[8,16,64]"])
    assert [claim.statement for claim in changed.claims] == ["Larger is worse"]
    assert changed.notes == ()


def test_in_a_file_it_is_a_mistake(preset: Path) -> None:
    preset.write_text(PRESET.replace("[8, 64]", "[8, 16]"))
    with pytest.raises(UsageProblem, match=r"claims\[0\].left: no configuration has"):
        load_preset(preset)


def test_other_mistakes_are_said_all_the_same(preset: Path) -> None:
    preset.write_text(PRESET.replace("test_accuracy", "accuracy"))
    with pytest.raises(UsageProblem, match=r"claims\[0\].measure: unknown measure 'accuracy'"):
        load_preset(preset, ["grid.batch_size=[8,16,64]"])


def test_every_shipped_preset_can_be_reduced_to_one_batch_size() -> None:
    for name in ("quickstart", "mnist-epochs", "one-and-all", "epoch-time"):
        assert find_preset(name, ["grid.batch_size=[16]"]).trial_count == 5
