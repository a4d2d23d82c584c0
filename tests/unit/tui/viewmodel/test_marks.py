"""Markers and colours: one of each for a configuration, or for a group of rivals."""

from batchscope.engine.experiment.preset import parse_preset
from batchscope.tui.viewmodel.marks import GLYPHS, marks_for

RAW = {
    "title": "Marks",
    "data": {"name": "digits"},
    "model": {"name": "mlp"},
    "train": {"lr": 0.1, "epochs": 1},
    "grid": {"batch_size": [8, 16, 32]},
}


def test_each_configuration_has_a_mark_of_its_own() -> None:
    marks = marks_for(list(parse_preset(dict(RAW), "x", "x").configurations))
    assert [mark.glyph for mark in marks.values()] == list(GLYPHS[:3])
    assert len({mark.style for mark in marks.values()}) == 3


def test_rivals_share_the_mark_of_their_group() -> None:
    raw = {**RAW, "select": {"lr": [0.1, 0.2, 0.3, 0.4, 0.5]}}
    raw["train"] = {"epochs": 1}
    found = parse_preset(raw, "x", "x").configurations
    marks = marks_for(list(found))
    for each in found:
        index = (8, 16, 32).index(each.settings.train.batch_size)
        assert (marks[each.id].glyph, marks[each.id].style) == (GLYPHS[index], f"s{index}")
    assert len({mark.label for mark in marks.values()}) == 15
