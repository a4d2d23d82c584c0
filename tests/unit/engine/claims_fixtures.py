"""Presets with claims, as they are written."""

from typing import Any

from batchscope.engine.experiment.preset import Preset, parse_preset

BASE: dict[str, Any] = {
    "title": "t",
    "seeds": 2,
    "data": {"name": "digits"},
    "model": {"name": "mlp", "hidden": [4]},
    "train": {"lr": 0.01, "epochs": 1},
    "grid": {"batch_size": [64, 1024]},
    "cells": [{"batch_size": 1024, "lr": 0.1, "label": "1024, raised rate"}],
}
TREND = {
    "statement": "It falls",
    "measure": "test_accuracy",
    "trend": "decreasing",
    "over": "batch_size",
}
PAIR = {
    "statement": "It mends it",
    "measure": "test_accuracy",
    "left": {"label": "1024, raised rate"},
    "relation": "greater",
    "right": {"batch_size": 1024, "lr": 0.01},
}


def parsed(*claims: Any, **changes: Any) -> Preset:
    return parse_preset({**BASE, **changes, "claims": list(claims)}, "mine", "x.toml")


def without(claim: dict[str, Any], *keys: str, **changes: Any) -> dict[str, Any]:
    return {**{key: value for key, value in claim.items() if key not in keys}, **changes}
