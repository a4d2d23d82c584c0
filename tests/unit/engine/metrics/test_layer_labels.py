import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.engine.metrics.layer_labels import short_names

ENCODER = [
    f"encoder.layers.{layer}.{part}"
    for layer in range(12)
    for part in ("self_attn.in_proj", "self_attn.out_proj", "linear1", "norm1")
]


@pytest.mark.parametrize("room", [12, 20, 24, 40])
def test_layers_of_an_encoder_stay_apart(room: int) -> None:
    short = short_names(ENCODER, room)
    assert list(short) == ENCODER
    assert len(set(short.values())) == len(ENCODER) or room < 18
    assert all(len(text) <= room for text in short.values())


def test_only_as_much_is_cut_as_needed() -> None:
    name = "encoder.layers.0.self_attn.out_proj"
    cut = {room: short_names([name], room)[name] for room in (40, 30, 26, 18, 9)}
    assert cut == {
        40: name,
        30: "e.layers.0.self_attn.out_proj",
        26: "e.l.0.self_attn.out_proj",
        18: "e.l.0.s.out_proj",
        9: "…out_proj",
    }


def test_names_that_would_look_alike_keep_their_ends() -> None:
    names = ["encoder.block.norm", "embedding.block.norm", "head"]
    short = short_names(names, 12)
    assert short["head"] == "head"
    assert all(len(short[name]) <= 12 for name in names)
    assert short["encoder.block.norm"] == "….block.norm"


@given(st.lists(st.text("ab.1", min_size=1, max_size=30), max_size=8), st.integers(1, 30))
def test_any_name_fits(names: list[str], room: int) -> None:
    short = short_names(names, room)
    assert short.keys() == set(names)
    assert all(len(short[name]) <= room for name in names)
    assert all(short[name] == name for name in names if len(name) <= room)
