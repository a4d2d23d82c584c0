"""What the menu tells of a preset fits its place, whatever the preset."""

from pathlib import Path

import pytest

from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.experiment.preset_catalog import preset_files
from batchscope.tui.render.styled_text import text_of, width_of
from batchscope.tui.screens.menu_entries import Offer, offers
from batchscope.tui.screens.menu_previews import preset_preview

PLACES = [(74, 11), (60, 42), (114, 17)]
"""Columns and rows at 80×24, 160×45, and on a tall narrow screen."""


def told(offer: Offer, width: int, height: int, limit: int | None = None) -> list[str]:
    return [text_of(line) for line in preset_preview(offer, [], limit, width, height)]


@pytest.mark.parametrize(("width", "height"), PLACES)
@pytest.mark.parametrize("name", sorted(preset_files()))
def test_every_experiment_fits_with_all_that_matters(name: str, width: int, height: int) -> None:
    offer = next(offer for offer in offers() if offer.name == name)
    preset = offer.preset
    assert preset is not None
    rows = preset_preview(offer, [], None, width, height)
    assert len(rows) <= height
    assert all(width_of(line) <= width for line in rows)
    fields = {text_of(line)[:10].strip() for line in rows}
    assert {"data", "model", "grid", "train", "trials", "source", "claims"} <= fields
    text = " ".join(" ".join(map(text_of, rows)).split())
    assert preset.question in text
    assert f"{preset.trial_count} trials" in text


def test_all_claims_are_there_where_they_have_room_and_counted_where_not() -> None:
    offer = next(offer for offer in offers() if offer.name == "distance")
    assert offer.preset is not None
    whole = " ".join(" ".join(told(offer, 60, 42)).split())
    for claim in offer.preset.claims:
        assert claim.statement in whole
    assert told(offer, 74, 11)[-1] == "claims    6"
    quickstart = next(offer for offer in offers() if offer.name == "quickstart")
    assert quickstart.preset is not None
    assert told(quickstart, 74, 11)[-1].endswith(quickstart.preset.claims[-1].statement)
    assert told(quickstart, 74, 10)[-1].strip() == "and 2 more"


def test_the_memory_limit_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "memory.toml"
    path.write_text(preset_files()["quickstart"].read_text())
    for assignments, limit, expected in [
        ([], None, ""),
        ([], 1 << 30, "memory    at most 1.00 GiB per device"),
        (["memory.limit=512MiB"], 1 << 30, "memory    at most 512 MiB per device"),
        (["memory.micro_batch_size=4"], None, "memory    micro-batch 4"),
    ]:
        offer = Offer("memory", path, load_preset(path, assignments))
        lines = [line for line in told(offer, 74, 20, limit) if line.startswith("memory")]
        assert lines == ([expected] if expected else [])


def test_the_grid_is_shown_with_its_lists_and_cells(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(preset_files()["quickstart"].read_text())
    cell = "cells=[{batch_size = 3}]"
    for assignments, expected in [
        (["grid.lr=[0.1, 1e-05]"], "batch_size 8, 16, 32, 64, 128, 256, 512 × lr 0.1, 1e-05"),
        (["grid.batch_size=[1024]", cell], "batch_size 1,024 + 1 cell"),
        (["grid.batch_size=", cell], "batch_size 3"),
        (["grid.batch_size=[8]", "grid.train.momentum=[0.5]"], "batch_size 8 × momentum 0.5"),
        (
            ["grid.model.batch_norm=[true, false]", "grid.batch_size=[8]"],
            "batch_size 8 × batch_norm",
        ),
    ]:
        offer = Offer("grid", path, load_preset(path, assignments))
        line = next(line for line in told(offer, 90, 20) if line.startswith("grid"))
        assert line.startswith(f"grid      {expected}")
