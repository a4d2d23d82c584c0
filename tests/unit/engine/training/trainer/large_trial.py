"""A trial that needs more memory than it is given."""

from batchscope.engine.spec import Model, Train, Trial
from tests.unit.training_fixtures import make_trial


def large_trial(name: str) -> Trial:
    """A trial with a batch of some hundred MiB."""
    if name == "mlp":
        model = Model(name="mlp", hidden=(8192,))
    else:
        model = Model(name="cnn", channels=(64, 8), hidden=())
    return make_trial(Train(batch_size=2048, lr=0.1, epochs=1), model)
