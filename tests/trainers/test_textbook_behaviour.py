"""Short trainings that show what the papers say: who remembers, and who does not.

Losses are over that of a predictor that remembers nothing.
"""

import pytest

from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

COPYING = {"name": "copying", "protocol": "arjovsky-2016", "delay": 50}
ADDING = {"name": "adding", "protocol": "arjovsky-2016", "length": 50}


def over_baseline(task, optimizer, steps, cell, **values):
    config = {
        "task": task,
        "cell": {"name": cell, "hidden_size": 64} | values,
        "training": {
            "steps": steps,
            "batch_size": 20,
            "evaluate_every": 100,
            "validation_size": 200,
            "clip_norm": 10,
            "optimizer": optimizer,
        },
        "seed": 3,
    }
    pack = Pack([TrialConfig.parse(config)])
    points = [point for (point,) in pack.train()]
    assert pack.divergences == [None]
    return min(point.metrics["valid/over_baseline"] for point in points)


def rmsprop(rate):
    return {"name": "rmsprop", "learning_rate": rate}


def adam(rate):
    return {"name": "adam", "learning_rate": rate}


@pytest.mark.parametrize(
    ("cell", "values"),
    [
        ("exprnn", {}),
        ("scornn", {"rho": 0.5}),
        ("dtriv", {}),
        ("nnrnn", {}),
        ("urnn", {}),
        ("eurnn", {}),
        ("full_urnn", {}),
        ("dgrnn_reconstructed", {}),
        ("spectral_margin", {"nonlinearity": "identity"}),
    ],
)
def test_orthogonal_and_unitary_cells_copy(cell, values):
    assert over_baseline(COPYING, rmsprop(1e-3), 1000, cell, **values) < 0.3


@pytest.mark.parametrize(
    ("cell", "values"),
    [("rnn", {"recurrent_init": "glorot"}), ("lstm", {}), ("gru", {})],
)
def test_plain_and_gated_cells_stay_at_the_baseline_of_copying(cell, values):
    assert 0.8 < over_baseline(COPYING, rmsprop(1e-3), 1000, cell, **values) < 1.1


@pytest.mark.parametrize(
    ("cell", "rate", "values"),
    [
        ("lem", 2.6e-3, {}),
        ("cornn", 2e-2, {"dt": 0.06, "gamma": 66.0, "epsilon": 15.0}),
        ("lstm", 3e-3, {}),
        ("gru", 3e-3, {}),
        ("mingru", 3e-3, {}),
        ("indrnn", 2e-3, {}),
    ],
)
def test_gated_and_oscillating_cells_add(cell, rate, values):
    assert over_baseline(ADDING, adam(rate), 1500, cell, **values) < 0.3


def test_a_plain_cell_does_not_add():
    assert over_baseline(ADDING, adam(1e-3), 1500, "rnn", recurrent_init="glorot") > 0.8
