"""Dynamical systems: their courses against other solvers, their baselines against known values."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from longhaul_trainers.cells.rnn import RNNSettings
from longhaul_trainers.counter import Stream, uniform64
from longhaul_trainers.settings import parse
from longhaul_trainers.tasks.fitzhugh_nagumo import FitzHughNagumo, FitzHughNagumoSettings
from longhaul_trainers.tasks.lorenz96 import Lorenz96, Lorenz96Settings
from longhaul_trainers.training import evaluation
from longhaul_trainers.training.evaluation import EvaluationSet, evaluate
from longhaul_trainers.training.model import SequenceModel


def lorenz(**settings):
    return Lorenz96(Lorenz96Settings(**settings))


def neuron(**settings):
    return FitzHughNagumo(FitzHughNagumoSettings(**settings))


def neuron_change(_, state):
    v, w = state
    return [v - v**3 / 3 - w + 0.5, (v + 0.7 - 0.8 * w) / 50]


def relative_errors(task):
    """Root mean squared errors of the simple predictors over the targets' deviation."""
    errors = task.baselines
    return {name: (error / errors["mean"]) ** 0.5 for name, error in errors.items()}


def moved(state, time, slope):
    return [a + time * k for a, k in zip(state, slope, strict=True)]


def test_lorenz_is_integrated_by_the_classical_method_step_by_step():
    task = lorenz(length=40, forcing=8.0)
    words = Stream("any").words(2, 5)
    course = task.courses(words)
    assert course.shape == (65, 5, 2)
    for b in range(2):
        x = [7.5 + u for u in uniform64(words)[b]]

        def change(x):
            return [(x[(j + 1) % 5] - x[j - 2]) * x[j - 1] - x[j] + 8 for j in range(5)]

        for step in range(65):
            assert course[step, :, b] == pytest.approx(x, abs=1e-9)
            k1 = change(x)
            k2 = change(moved(x, 0.005, k1))
            k3 = change(moved(x, 0.005, k2))
            k4 = change(moved(x, 0.01, k3))
            slope = [(p + 2 * q + 2 * r + s) / 6 for p, q, r, s in zip(k1, k2, k3, k4, strict=True)]
            x = moved(x, 0.01, slope)


def test_lorenz_starts_up_to_a_half_from_the_equilibrium():
    starts = lorenz(length=1, forcing=0.9).evaluation_set("test", 128).inputs[0]
    assert starts.min() >= 0.4
    assert starts.max() <= 1.4
    assert starts.mean() == pytest.approx(0.9, abs=4 * 12**-0.5 / 640**0.5)
    assert starts.std() == pytest.approx(12**-0.5, rel=0.1)


def test_lorenz_targets_are_the_inputs_25_steps_later():
    batch = lorenz(length=100).evaluation_set("validation", 3)
    assert torch.equal(batch.inputs[25:], batch.targets[:-25])
    assert batch.inputs.shape == batch.targets.shape == (100, 3, 5)


def test_burn_in_leaves_out_the_first_steps_and_nothing_else():
    whole = lorenz(length=60).evaluation_set("test", 2)
    later = lorenz(length=50, burn_in=10).evaluation_set("test", 2)
    assert torch.equal(whole.inputs[10:], later.inputs)


def test_lorenz_is_chaotic_with_forcing_8_and_not_with_forcing_09():
    words = Stream("any").words(1, 5)
    pair = np.concatenate([words, words + np.uint64(1 << 24)])
    grown = {}
    for forcing in (0.9, 8.0):
        course = lorenz(forcing=forcing).courses(pair)
        apart = abs(course[:, :, 1] - course[:, :, 0]).max(axis=1)
        grown[forcing] = apart[-1] / apart[0]
    assert grown[0.9] < 10
    assert grown[8.0] > 1000


@pytest.mark.parametrize(
    ("settings", "persistence", "linear"),
    [
        ({"forcing": 8.0}, (1.13, 1.18), (0.69, 0.75)),
        ({"forcing": 0.9}, (0.33, 0.35), (0.045, 0.06)),
        ({"forcing": 0.9, "burn_in": 1000}, (0.33, 0.35), (0.002, 0.004)),
    ],
)
def test_lorenz_baselines_are_as_known(settings, persistence, linear):
    errors = relative_errors(lorenz(**settings))
    assert persistence[0] < errors["persistence"] < persistence[1]
    assert linear[0] < errors["linear"] < linear[1]


@pytest.fixture(scope="module")
def voltages():
    return neuron().evaluation_set("test", 16)


def test_neuron_is_on_the_exact_course_after_all_its_steps(voltages):
    batch = voltages
    times = 0.4 * np.arange(1001)
    for b in range(2):
        start = [batch.inputs[0, b, 0].item(), 0.0]
        exact = solve_ivp(
            neuron_change, (0, 400), start, method="DOP853", t_eval=times, rtol=1e-11, atol=1e-12
        ).y[0]
        # A float32 start is off by 1e-7, which moves a spike a little in time.
        assert batch.inputs[:, b, 0].numpy() == pytest.approx(exact[:-1], abs=1e-5)
        assert batch.targets[:, b, 0].numpy() == pytest.approx(exact[1:], abs=1e-5)


def test_the_authors_default_tolerance_is_off_by_more_than_the_error_they_report(voltages):
    inputs = voltages.inputs[:, :4, 0].numpy()
    times = 0.4 * np.arange(1001)
    theirs = [
        solve_ivp(neuron_change, (0, 400), [start, 0.0], t_eval=times).y[0][:-1]
        for start in inputs[0].tolist()
    ]
    off = float(np.sqrt(np.square(np.array(theirs).T - inputs).mean()))
    assert 0.02 < off < 0.08
    assert off > 5 * neuron().protocol.published[0].value


def test_neuron_starts_uniform_in_minus_one_to_one():
    starts = neuron(length=1).evaluation_set("test", 1024).inputs[0, :, 0]
    assert -1 <= starts.min() < -0.95
    assert 0.95 < starts.max() < 1
    assert abs(starts.mean()) < 4 * (1 / 3 / 1024) ** 0.5


def test_neuron_baselines_are_as_known():
    errors = neuron().baselines
    assert errors["mean"] ** 0.5 == pytest.approx(1.48, abs=0.01)
    assert errors["persistence"] ** 0.5 == pytest.approx(0.0786, abs=2e-4)
    assert errors["linear"] <= errors["persistence"]
    assert neuron().baseline == errors["linear"]


def test_root_mean_square_is_of_the_whole_set_and_not_of_its_last_part(monkeypatch):
    task = lorenz(length=12)
    whole = task.evaluation_set("test", 30)
    settings = parse(RNNSettings, {"hidden_size": 3})
    model = SequenceModel(task, [settings], [torch.Generator().manual_seed(0)])

    def data():
        return EvaluationSet(task, "test", 30, 3, torch.device("cpu"))

    wanted = evaluate(model, task, data())
    monkeypatch.setattr(evaluation, "CHUNK_FLOATS", 8 * 12 * task.input_size)
    parts = [piece for run in data().runs() for piece in run]
    assert [part.inputs.shape[1] for part in parts] == [8, 8, 8, 6]
    measured = evaluate(model, task, data())
    assert set(wanted) == {"loss", "rmse", "nrmse"}
    assert measured["rmse"] == pytest.approx(wanted["rmse"], rel=1e-6)
    assert measured["nrmse"] == pytest.approx(wanted["nrmse"], rel=1e-6)
    with torch.no_grad():
        outputs = model(whole.inputs.unsqueeze(1))[0].double()
    errors = (outputs - whole.targets).square()
    error = errors.mean().sqrt()
    assert errors[:, 24:].mean().sqrt().item() != pytest.approx(error.item(), rel=1e-3)
    assert wanted["rmse"].item() == pytest.approx(error.item(), rel=1e-5)
    power = whole.targets.double().square().mean().sqrt()
    assert wanted["nrmse"].item() == pytest.approx((error / power).item(), rel=1e-5)


# Recorded once. A change here means that no earlier result can be compared with a later one.
SHA256 = {
    "lorenz96": "7f4c1cce8b427cb67ad6763ffffcfa9793c3a73522059ab4ec39517b59c07101",
    "fitzhugh_nagumo": "af744fa1b91b56fdcd255496dc60499f97145f951d9a64fac49cc812e132c4af",
}


def test_evaluation_sets_never_change():
    assert lorenz().evaluation_hash("test", 16) == SHA256["lorenz96"]
    assert neuron().evaluation_hash("test", 16) == SHA256["fitzhugh_nagumo"]
