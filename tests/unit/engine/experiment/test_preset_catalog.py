"""The shipped presets, and finding a preset by name or file."""

from pathlib import Path

import pytest

from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.experiment.preset_catalog import find_preset, preset_files
from tests.messages import says
from tests.unit.engine.sweeps.store_fixtures import refusal


def test_the_shipped_presets_are_valid() -> None:
    files = preset_files()
    assert {"quickstart", "mnist-epochs"} <= set(files)
    for name, path in files.items():
        preset = load_preset(path)
        assert preset.name == name
        assert preset.notes == ()
        assert preset.question.endswith("?")
        assert preset.source
        assert preset.group


def test_quickstart_is_digits_by_an_mlp_from_8_to_512() -> None:
    preset = find_preset("quickstart")
    assert [c.settings.train.batch_size for c in preset.configurations] == [
        2**power for power in range(3, 10)
    ]
    assert all(c.settings.data.name == "digits" for c in preset.configurations)
    assert all(c.settings.model.name == "mlp" for c in preset.configurations)
    assert all(len(c.seeds) > 1 for c in preset.configurations)


def test_mnist_epochs_is_mnist_by_a_cnn_from_8_to_1024_for_20_epochs() -> None:
    preset = find_preset("mnist-epochs")
    assert [c.settings.train.batch_size for c in preset.configurations] == [
        2**power for power in range(3, 11)
    ]
    for configuration in preset.configurations:
        assert configuration.settings.data.name == "mnist"
        assert configuration.settings.model.name == "cnn"
        assert configuration.settings.train.epochs == 20


def test_a_preset_by_name_or_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = preset_files()["quickstart"].read_text()
    (tmp_path / "mine.toml").write_text(content.replace("Batch size in", "Mine in"))
    (tmp_path / "plain").write_text(content)
    (tmp_path / "quickstart").write_text("no preset")
    monkeypatch.chdir(tmp_path)
    assert find_preset("quickstart").title == "Batch size in half a minute"
    assert find_preset("mine.toml").title == "Mine in half a minute"
    assert find_preset("mine.toml").name == "mine"
    assert find_preset("./mine.toml", ["title=Set"]).title == "Set"
    assert find_preset(str(tmp_path / "mine.toml")).name == "mine"
    assert find_preset("plain").name == "plain"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("quickstrat", "no preset | 'quickstrat' | did you mean 'quickstart'?"),
        ("mnist", "no preset | 'mnist'"),
        ("xyzzy", "no preset | 'xyzzy' | quickstart"),
        ("no.toml", "no.toml: no such preset file"),
        ("./quickstart", "quickstart: no such preset file"),
        (".", ".: | folder"),
        ("\x1b[2J", "no preset | '�[2J'"),
    ],
)
def test_no_such_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert says(refusal(lambda: find_preset(asked)), message)


def test_a_name_too_long_for_the_disk_is_not_a_preset() -> None:
    assert "no preset" in refusal(lambda: find_preset("x" * 300))
