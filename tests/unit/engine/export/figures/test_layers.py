"""The share of each layer in the gradient, as the report draws it."""

import msgspec
import numpy as np
import pytest

from batchscope.engine.export import plot_style
from batchscope.engine.export.export_reader import ExportedFigures, ExportedFindings
from batchscope.engine.export.figures import gradients
from batchscope.engine.export.figures.common import Cast, Picture
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import Configuration
from tests.unit.training_fixtures import configuration, epochs, opened, record, started


def picture(networks: dict[Configuration, dict[str, float]]) -> Picture | None:
    """The figure of configurations, of each the mean norm of its layers in the only epoch."""
    events = opened(networks)
    for of, norms in networks.items():
        layers = tuple(norms)
        begin = started(of, 0)
        assert isinstance(begin, ev.TrialStarted)
        events.append(
            msgspec.structs.replace(begin, layers=layers, layer_parameters=(9,) * len(layers))
        )
        stated = tuple(ev.LayerNorm(norm, 0.0) for norm in norms.values())
        end = msgspec.structs.replace(record(1), layer_draws=1, layer_norms=stated)
        events.append(epochs(of, end))
    document = ExportedFindings(claims=(), recommendation="", findings=ExportedFigures())
    cast = Cast(SweepState().fold(events), document, tuple(each.id for each in networks))
    with plot_style.styled("key"):
        drawn = {each.name: each for each in gradients.pictures(cast)}
    return drawn.get("layer_norms")


def test_each_configuration_is_a_line_of_shares() -> None:
    small, large = configuration(8), configuration(64)
    found = picture({small: {"conv1": 3.0, "linear1": 1.0}, large: {"conv1": 1.0, "linear1": 1.0}})
    assert found is not None
    one, other = found.figure.axes[0].get_lines()
    assert np.asarray(one.get_ydata()) == pytest.approx([90, 10])
    assert np.asarray(other.get_ydata()) == pytest.approx([50, 50])
    assert [each.get_text() for each in found.figure.axes[0].get_xticklabels()] == [
        *("conv1", "linear1")
    ]


def test_other_networks_are_left_out_and_counted() -> None:
    plain = {"linear1": 1.0, "linear2": 1.0}
    networks = {configuration(8): plain, configuration(64): plain}
    found = picture({**networks, configuration(16, name="other"): {"conv1": 1.0}})
    assert found is not None
    assert len(found.figure.axes[0].get_lines()) == 2
    assert "1 more configuration not drawn" in found.caption


def test_many_layers_have_every_few_a_name() -> None:
    found = picture({configuration(8): {f"conv{at}": 1.0 for at in range(1, 42)}})
    assert found is not None
    assert len(found.figure.axes[0].get_xticks()) == 11


def test_without_norms_by_layer_there_is_no_figure() -> None:
    assert picture({configuration(8): {}}) is None
