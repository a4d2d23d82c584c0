"""What a figure is drawn from."""

from batchscope.engine.export.export_reader import ExportedFigures, ExportedFindings
from batchscope.engine.export.figures.common import Cast
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import Configuration
from tests.unit.training_fixtures import configuration, opened


def cast(*sizes: int) -> Cast:
    made: list[Configuration] = [
        configuration(size, name=f"c{at}", lr=0.1 + at) for at, size in enumerate(sizes)
    ]
    state = SweepState().fold(opened(made))
    told = ExportedFindings(claims=(), recommendation="", findings=ExportedFigures())
    return Cast(state, told, tuple(each.id for each in made))
