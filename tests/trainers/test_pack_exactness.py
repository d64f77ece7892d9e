"""A trial has the same bits wherever it runs: curve, weights, the optimiser's state.

`test_cell_contract` holds every cell to it for a few steps, and `test_continuous_pack` trials that
come and go. Here are the same trials through all changes one after another, in both precisions, as
long as a last bit needs to grow, and on different numbers of threads.
"""

import math

import pytest
import torch

from longhaul_trainers.catalogue import CELLS
from longhaul_trainers.scans.native import library
from longhaul_trainers.training.continuous_pack import ContinuousPack, Stretch
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig

STEPS = 25
SEED = 7
CELLS_HERE = ["exprnn", "nnrnn", "ornn", "spectral_margin", "lstm", "gru", "urnn", "lipschitz"]
STEPWISE = ["goru", "fastgrnn"]
CASES = [
    *[(cell, precision) for cell in CELLS_HERE for precision in ("float32", "bfloat16")],
    *[(cell, "float32") for cell in STEPWISE],
]
every_case = pytest.mark.parametrize(("cell", "precision"), CASES)


def config(cell, precision, seed, *, size=16, batch=5, delay=2, rate=3e-3):
    return TrialConfig.parse(
        {
            "task": {"name": "copying", "delay": delay},
            "cell": {"name": cell, "hidden_size": size},
            "training": {
                "precision": precision,
                "steps": STEPS,
                "batch_size": batch,
                "evaluate_every": 5,
                "diagnose_every": 10,
                "validation_size": 8,
                "test_size": 8,
                "optimizer": {"name": "adam", "learning_rate": rate},
            },
            "seed": seed,
        }
    )


def untimed(point):
    metrics = {k: v for k, v in point.metrics.items() if k != "speed/steps_per_second"}
    return point.step, metrics


def trained(trials, slot=0, *, threads=1, poisoned=None):
    """One slot's curve and everything that it holds in the end."""
    torch.set_num_threads(threads)
    pack, curve = Pack(trials), []
    for points in pack.train():
        curve.append(untimed(points[slot]))
        if poisoned is not None and len(curve) == 1:
            with torch.no_grad():
                for parameter in pack.model.parameters():
                    parameter[poisoned].fill_(math.nan)
    if poisoned is not None:
        assert pack.divergences[poisoned] is not None
    return curve, pack.checkpoint(slot)


@pytest.fixture(scope="module")
def alone():
    """Trials alone, on one thread, each trained once."""
    known = {}

    def find(*case):
        if case not in known:
            known[case] = trained([config(*case, SEED)])
        return known[case]

    return find


def others(cell, precision, count):
    return [config(cell, precision, seed, rate=1e-3 * (1 + seed % 3)) for seed in range(count)]


def test_the_cells_are_what_they_stand_for():
    kinds = {CELLS.get(cell).kind for cell in CELLS_HERE}
    assert {"elman", "gated", "residual"} <= kinds
    assert all(
        CELLS.get(cell).precisions(CELLS.get(cell).settings_type()) == ("float32",)
        for cell in STEPWISE
    )


@every_case
def test_in_a_pack_of_four_whose_neighbour_becomes_nan(cell, precision, alone):
    trials = others(cell, precision, 3)
    trials.insert(2, config(cell, precision, SEED))
    assert trained(trials, 2, poisoned=1, threads=2) == alone(cell, precision)


@every_case
def test_in_the_last_slot_of_sixteen(cell, precision, alone):
    trials = [*others(cell, precision, 15), config(cell, precision, SEED)]
    assert trained(trials, 15, threads=3) == alone(cell, precision)


@every_case
def test_while_neighbours_leave_and_are_replaced(cell, precision, alone):
    pack = ContinuousPack("cpu")
    trials = others(cell, precision, 4)
    pack.admit("before", Stretch(trials[0], 5))
    pack.admit("mine", Stretch(config(cell, precision, SEED), STEPS))
    pack.admit("after", Stretch(trials[1], 10))
    waiting, curve, state = trials[2:], [], None
    for _ in range(2 * STEPS):
        for told in pack.step():
            if told.key == "mine":
                curve.append(untimed(told.point))
                state = told.state if told.over else state
            elif told.over and waiting:
                pack.admit(f"next {len(waiting)}", Stretch(waiting.pop(), 10))
    assert not waiting
    assert (curve, state.checkpoint()) == alone(cell, precision)


@pytest.mark.parametrize(
    ("cell", "precision"),
    [("exprnn", "float32"), ("nnrnn", "bfloat16"), ("lstm", "bfloat16"), ("gru", "float32")],
)
def test_on_any_number_of_threads(cell, precision):
    """Large enough that libraries split products among threads, along their sums too."""
    sizes = {"size": 64, "batch": 20, "delay": 30}
    trial, other = (config(cell, precision, seed, **sizes) for seed in (SEED, 0))
    expected = trained([trial])
    assert trained([trial], threads=2) == expected
    assert trained([other, trial], 1, threads=3) == expected


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("cell", ["exprnn", "lstm", "lipschitz"])
def test_written_with_torch_too(cell, precision, monkeypatch):
    monkeypatch.setattr(library, "library", lambda: None)
    trial = config(cell, precision, SEED)
    expected = trained([trial])
    trials = others(cell, precision, 3)
    trials.insert(1, trial)
    assert trained(trials, 1, poisoned=2, threads=2) == expected
