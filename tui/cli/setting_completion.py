"""Completes `--set KEY=VALUE`: the keys of a preset, then the values that a key takes."""

import argparse
from pathlib import Path

from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.draft import Draft
from batchscope.engine.experiment.fields import choices_of, full_key
from batchscope.engine.experiment.preset_catalog import preset_files

DEFAULT_PRESET = "quickstart"


def completions(prefix: str, words: argparse.Namespace) -> list[str]:
    """Return what a word of `--set` that begins with `prefix` may become.

    Args:
        prefix: what is typed of `KEY=VALUE`.
        words: the other words; the preset among them gives its keys and values.

    Raises:
        Problem: the preset cannot be read.
    """
    key, equals, _ = prefix.partition("=")
    if not equals:
        known, others = _draft(words).settings()
        return [f"{each.key}=" for each in (*known, *others)]
    return [f"{key}={value}" for value in _values(key.strip(), words)]


def _values(key: str, words: argparse.Namespace) -> list[str]:
    """Return the values of a key, or else the value that the preset has, or the default."""
    table, _, name = key.partition(".")
    varied = table in ("grid", "select")
    try:
        offered = choices_of(full_key(name if varied else key, ""))
    except UsageProblem:
        offered = []
    if offered and not varied:
        return offered
    listed = [f'["{each}"]' for each in offered]
    setting = _draft(words).setting(key)
    present = (setting.text or setting.default).replace(", ", ",")
    return [*listed, *[present] * bool(present)]


def _draft(words: argparse.Namespace) -> Draft:
    name = getattr(words, "preset", None) or DEFAULT_PRESET
    return Draft(preset_files().get(name) or Path(name))
