"""Presets as tables, unfolded or refused."""

from typing import Any

import pytest

from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.grid import unfold
from batchscope.engine.spec import Configuration


def base(**more: Any) -> dict[str, Any]:
    raw: dict[str, Any] = {
        "data": {"name": "digits"},
        "model": {"name": "mlp"},
        "train": {"batch_size": 64, "lr": 0.1, "epochs": 2},
    }
    return {**raw, **more}


def configurations(**more: Any) -> list[Configuration]:
    return unfold(base(**more), "file.toml")[0]


def notes(**more: Any) -> list[str]:
    return unfold(base(**more), "file.toml")[1]


def refusal(**more: Any) -> str:
    with pytest.raises(UsageProblem) as caught:
        unfold(base(**more), "file.toml")
    message = str(caught.value)
    assert message.startswith("file.toml: ")
    assert message.isprintable()
    return message.removeprefix("file.toml: ")
