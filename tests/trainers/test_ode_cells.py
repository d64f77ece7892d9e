"""Recurrences that step along a differential equation: what their papers promise, and traps."""

import itertools
import math
from pathlib import Path

import pytest
import torch
import yaml

from longhaul_trainers.catalogue import CELLS
from longhaul_trainers.cells.cornn import CoRNN, CoRNNSettings
from longhaul_trainers.cells.unicornn import UnICORNNSettings
from longhaul_trainers.settings import parse_component

VARIED = [
    (
        "antisymmetric",
        [{"epsilon": 0.1, "gamma": 0.5, "sigma_w": 1}, {"epsilon": 0.02, "sigma_w": 8}],
    ),
    (
        "antisymmetric",
        [{"gated": True, "epsilon": 0.1, "gamma": 0.5}, {"gated": True, "sigma_w": 8}],
    ),
    ("lipschitz", [{"epsilon": 0.1, "beta": 0.6, "alpha": 0.2}, {"linear_gamma": 0.3}]),
    ("lipschitz", [{"solver": "midpoint", "init_std": 8}, {"solver": "midpoint", "gamma": 0.1}]),
    ("cornn", [{"dt": 0.1, "gamma": 1.0}, {"epsilon": 9.0, "damping": "implicit"}]),
    ("lem", [{"dt": 0.9}, {"dt": 0.001}]),
    ("unicornn", [{"dt": 0.3, "alpha": 1.0}, {"last_dt": 0.01}]),
    ("fastrnn", [{"alpha_init": -1.0}, {"beta_init": 1.0}]),
    ("fastgrnn", [{"zeta_init": 0.0}, {"nu_init": -1.0}]),
]


def build(name, cases, inputs=2, size=6, seed=0):
    slots = [parse_component(CELLS, {"name": name, "hidden_size": size} | one) for one in cases]
    drawn = [torch.Generator().manual_seed(seed) for _ in cases]
    return CELLS.get(name)(inputs, slots, drawn)


def drawn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize(("name", "cases"), VARIED)
def test_trials_with_other_numbers_share_a_pack(name, cases):
    x = drawn(7, 1, 3, 2)
    together, _ = build(name, cases)(x.expand(-1, 2, -1, -1))
    assert not torch.equal(together[:, 0], together[:, 1])
    for p, one in enumerate(cases):
        alone, _ = build(name, [one])(x)
        assert torch.equal(alone[:, 0], together[:, p])


def linear_step(dt, gamma, epsilon, damping):
    """A step of coRNN without its force, on (z, y)."""
    keep, pull = 1 - dt * epsilon, -dt * gamma
    if damping == "implicit":
        keep, pull = 1 / (1 + dt * epsilon), -dt * gamma / (1 + dt * epsilon)
    return torch.tensor([[keep, pull], [dt * keep, 1 + dt * pull]], dtype=torch.float64)


@pytest.mark.parametrize("damping", ["explicit", "implicit"])
def test_cornn_region_of_stability_is_where_the_spectral_radius_is_below_one(damping):
    inside = []
    for dt, gamma, epsilon in itertools.product(
        [0.01, 0.05, 0.2, 0.7], [0.1, 2.7, 66, 400], [0.5, 4.7, 15, 60]
    ):
        settings = CoRNNSettings(dt=dt, gamma=gamma, epsilon=epsilon, damping=damping)
        radius = torch.linalg.eigvals(linear_step(dt, gamma, epsilon, damping)).abs().max()
        assert settings.stable == bool(radius < 1), settings
        inside.append(settings.stable)
    assert 0 < sum(inside) < len(inside)


def test_cornn_outside_its_region_of_stability_grows_without_bound():
    cases = [
        {"dt": 0.1, "epsilon": 15.0, "gamma": 1.0},
        {"dt": 0.15, "epsilon": 15.0, "gamma": 1.0},
        {"dt": 0.15, "epsilon": 15.0, "gamma": 1.0, "damping": "implicit"},
    ]
    outputs, _ = build("cornn", cases)(drawn(500, 1, 3, 2).expand(-1, 3, -1, -1))
    assert [one.stable for one in build("cornn", cases).slots] == [True, False, True]
    largest = outputs.abs().amax((0, 2, 3))
    assert largest[0] < 10
    assert not largest[1] < 1e30
    assert largest[2] < 10


def ranges_to_search():
    """Holes of coRNN's settings by name: as the cell recommends them, and as shipped."""
    yield {key: yaml.safe_load(hole) for key, hole in CoRNN.search_ranges.items()}
    for path in (Path(__file__).parents[2] / "search_spaces").glob("*/cornn.yaml"):
        yield yaml.safe_load(path.read_text(encoding="utf-8"))["cell"]


def test_cornn_ranges_to_search_lie_inside_the_region_of_stability():
    found = list(ranges_to_search())
    assert len(found) >= 3
    for hole in found:
        bounds = [map(float, hole[key]["loguniform"]) for key in ("dt", "gamma", "epsilon")]
        for dt, gamma, epsilon in itertools.product(*bounds):
            assert CoRNNSettings(dt=dt, gamma=gamma, epsilon=epsilon).stable, (dt, gamma, epsilon)


def test_antisymmetric_eigenvalues_have_the_real_part_minus_gamma():
    cell = build("antisymmetric", [{"gamma": 0.3, "sigma_w": 16}], size=10).double()
    eigenvalues = torch.linalg.eigvals(cell.recurrent.matrix()[0])
    torch.testing.assert_close(eigenvalues.real, torch.full((10,), -0.3, dtype=torch.float64))
    assert eigenvalues.imag.abs().max() > 1


def test_antisymmetric_gate_starts_open_and_shares_the_recurrent_product():
    plain, gated = (build("antisymmetric", [{"gated": gate}], inputs=3) for gate in (False, True))
    assert (gated.bias[0, 6:] == 1).all()
    assert (gated.bias[0, :6] == 0).all()
    extra = sum(one.numel() for one in gated.parameters())
    extra -= sum(one.numel() for one in plain.parameters())
    assert extra == 6 * 3 + 6


def test_sigma_w_is_divided_by_the_number_of_units():
    cell = build("antisymmetric", [{"sigma_w": 4}], inputs=5, size=100)
    assert cell.recurrent.upper.std().item() == pytest.approx(0.04, rel=0.05)
    assert cell.input_weight.std().item() == pytest.approx(1 / 5, rel=0.1)


def test_lipschitz_init_std_is_divided_by_the_number_of_units():
    cell = build("lipschitz", [{"init_std": 32}], size=100)
    for matrix in (cell.recurrent, cell.linear):
        assert matrix.weight.std().item() == pytest.approx(0.32, rel=0.05)
    assert not torch.equal(cell.recurrent.weight, cell.linear.weight)


def test_lipschitz_midpoint_is_of_second_order():
    """Halving the step quarters the error, which for Euler's method it only halves."""

    def end(solver, steps, time=1.0):
        cases = [{"solver": solver, "epsilon": time / steps, "init_std": 3}]
        cell = build("lipschitz", cases).double()
        cell.epsilon.fill_(time / steps)
        state = (drawn(1, 3, 6, seed=2, dtype=torch.float64),)
        x = drawn(1, 1, 3, 2, dtype=torch.float64).expand(steps, -1, -1, -1)
        return cell(x, state)[0][-1]

    exact = end("midpoint", 2048)
    for solver, ratio in (("euler", 2), ("midpoint", 4)):
        coarse, fine = ((end(solver, n) - exact).norm() for n in (32, 64))
        assert (coarse / fine).item() == pytest.approx(ratio, rel=0.1)


def test_lem_has_as_many_parameters_as_the_library_lstm():
    theirs = sum(one.numel() for one in torch.nn.LSTM(5, 7).parameters())
    assert CELLS.get("lem").parameter_count(5, build("lem", [{}], size=7).slots[0]) == theirs


def test_lem_keeps_its_state_where_both_gates_are_shut():
    cell = build("lem", [{"dt": 1.0}])
    with torch.no_grad():
        cell.input_bias[:, :12] = -200
    start = (drawn(1, 3, 6), drawn(1, 3, 6, seed=1))
    outputs, (_, z) = cell(drawn(50, 1, 3, 2), start)
    assert torch.equal(outputs[-1], start[0])
    assert torch.equal(z, start[1])


def test_unicornn_step_is_symplectic():
    """The Jacobian of a step of one oscillator has determinant 1: no volume is lost."""
    cell = build("unicornn", [{"layers": 1, "dt": 0.5, "alpha": 3.0}], size=1).double()
    x = drawn(3, 1, 1, 2, dtype=torch.float64)

    def after(state):
        y, z = state.view(2, 1, 1, 1)
        return torch.cat([one.flatten() for one in cell(x, (y, z))[1]])

    start = drawn(2, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(after, start)
    assert torch.linalg.det(jacobian).item() == pytest.approx(1, abs=1e-12)
    assert (jacobian - torch.eye(2)).norm() > 0.1


def test_unicornn_can_be_run_backwards_from_its_last_state():
    cell = build("unicornn", [{"layers": 1}]).double()
    layer = cell.layers[0]
    x = drawn(40, 1, 3, 2, dtype=torch.float64)
    outputs, (y, z) = cell(x)
    d = layer.dt * layer.time_scale[0].sigmoid()
    for products in (x @ layer.input_weight[0].T + layer.bias[0]).flip(0):
        y = y - d * z
        force = torch.tanh(layer.recurrent_weight[0] * y + products)
        z = z + d * (force + layer.alpha * y)
    assert outputs.abs().max() > 1e-3
    torch.testing.assert_close(y, torch.zeros_like(y), rtol=0, atol=1e-12)
    torch.testing.assert_close(z, torch.zeros_like(z), rtol=0, atol=1e-12)


def test_unicornn_step_sizes_go_from_the_first_to_the_last_layer():
    settings = UnICORNNSettings(layers=3, dt=0.0001, last_dt=0.01)
    found = [settings.layer_dt(depth) for depth in range(3)]
    assert found == pytest.approx([0.0001, 0.001, 0.01])
    assert {UnICORNNSettings(dt=0.2).layer_dt(depth) for depth in range(3)} == {0.2}
    assert UnICORNNSettings(layers=1, last_dt=0.5).layer_dt(0) == 0.1


def test_fastrnn_starts_as_a_leaky_unit_with_the_published_leak_and_gain():
    cell = build("fastrnn", [{}])
    with torch.no_grad():
        for weight in (cell.input_weight.weight, cell.recurrent_weight.weight):
            weight.zero_()
    outputs, _ = cell(drawn(2, 1, 3, 2))
    gain, keep = 1 / (1 + math.exp(3)), 1 / (1 + math.exp(-3))
    expected = gain * math.tanh(1) * (1 + keep)
    torch.testing.assert_close(outputs[1], torch.full((1, 3, 6), expected))


def test_low_rank_weights_have_that_rank_and_fewer_parameters():
    low = build("fastgrnn", [{"input_rank": 1, "recurrent_rank": 2}], inputs=4)
    assert torch.linalg.matrix_rank(low.input_weight()[0]) == 1
    assert torch.linalg.matrix_rank(low.recurrent_weight()[0]) == 2
    full = build("fastgrnn", [{}], inputs=4)
    counts = [sum(one.numel() for one in cell.parameters()) for cell in (low, full)]
    assert counts == [1 * (6 + 4) + 2 * (6 + 6) + 14, 6 * 4 + 6 * 6 + 14]


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("antisymmetric", {}),
        ("lipschitz", {}),
        ("cornn", {}),
        ("lem", {"dt": 0.003}),
        ("unicornn", {"layers": 1}),
    ],
)
def test_gradients_neither_vanish_nor_explode_over_hundreds_of_steps(name, case):
    """The promise of the whole family: what a step loses is of the order of its step size."""
    cell = build(name, [case], size=32)
    x = drawn(300, 1, 4, 2).requires_grad_()
    outputs, _ = cell(x)
    (gradient,) = torch.autograd.grad(outputs[-1].square().sum(), x)
    early, late = gradient[:10].norm(), gradient[-10:].norm()
    assert early > 1e-4 * late
    assert early < 1e2 * late
