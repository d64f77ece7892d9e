"""What is special about the baselines; what every cell must satisfy: test_cell_contract.py."""

import math

import pytest
import torch

from longhaul_trainers.catalogue import CELLS
from longhaul_trainers.settings import parse_component, structure

T, P, B, I, H = 5, 3, 4, 3, 6  # noqa: E741

DIAGNOSTICS = {
    "orthogonality_error",
    "spectral_radius",
    "singular_value_min",
    "singular_value_max",
    "departure_from_normality",
}


def settings(name, **values):
    return parse_component(CELLS, {"name": name, "hidden_size": H} | values)


def build(name, seeds=range(P), inputs=I, **values):
    slots = [settings(name, **values)] * len(seeds)
    return CELLS.get(name)(inputs, slots, [torch.Generator().manual_seed(s) for s in seeds])


def inputs_of(pack=P, seed=0, size=I):
    return torch.randn(T, pack, B, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["exprnn", "gru", "irnn", "lstm", "rnn", "scornn"])
def test_the_carried_state_begins_with_the_last_output(name):
    cell = build(name)
    outputs, state = cell(inputs_of())
    assert torch.equal(state[0], outputs[-1])
    assert len(state) == (2 if name == "lstm" else 1)
    assert set(cell.diagnostics()) == (set() if name in ("gru", "lstm") else DIAGNOSTICS)


@pytest.mark.parametrize("name", ["exprnn", "scornn", "rnn", "irnn"])
def test_recurrent_group_has_the_ratio_and_the_optimiser(name):
    cell = build(name, learning_rate_ratio=0.25, recurrent_optimizer="sgd")
    (recurrent,) = [group for group in cell.parameter_groups() if group.name == "recurrent"]
    assert recurrent.learning_rate_ratio.tolist() == [0.25] * P
    assert recurrent.optimizer == "sgd"
    default = settings(name)
    assert default.learning_rate_ratio == (0.1 if name in ("exprnn", "scornn") else 1.0)
    assert default.recurrent_optimizer is None


def test_published_initial_values():
    exprnn = build("exprnn", [0], inputs=50, hidden_size=200)
    assert exprnn.input_weight.std().item() == pytest.approx((2 / 50) ** 0.5, rel=0.05)
    assert 0 < exprnn.nonlinearity.bias.abs().max() <= 0.01
    assert exprnn.bias is None
    scornn = build("scornn", [0], inputs=50, hidden_size=200)
    assert 0.0099 < scornn.input_weight.abs().max() <= 0.01
    assert (scornn.nonlinearity.bias == 0).all()
    assert (scornn.recurrent.signs == -1).sum() == 100
    irnn = build("irnn", [0], inputs=50, hidden_size=200, identity_scale=0.5)
    assert torch.equal(irnn.recurrent.matrix()[0], 0.5 * torch.eye(200))
    assert irnn.input_weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert (irnn.bias == 0).all()


def test_the_chain_passes_each_unit_to_the_next_and_forgets_after_the_last():
    """W = alpha shift(1) (Orhan and Pitkow 2020): nilpotent, so far from normal as can be."""
    cell = build("rnn", [0], recurrent_init="chain", recurrent_gain=0.9, nonlinearity="identity")
    W = cell.recurrent.matrix()[0].detach()
    expected = torch.zeros(H, H)
    for unit in range(H - 1):
        expected[unit + 1, unit] = 0.9
    assert torch.equal(W, expected)
    impulse = torch.zeros(H + 2, 1, 1, 1)
    impulse[0] = 1
    chain = build("rnn", [0], 1, recurrent_init="chain", nonlinearity="identity")
    with torch.no_grad():
        chain.input_weight.zero_()[0, 0] = 1
    seen = chain(impulse)[0][:, 0, 0]
    assert torch.equal(seen[:H], torch.eye(H))
    assert (seen[H:] == 0).all()
    found = {key: value.item() for key, value in cell.diagnostics().items()}
    assert found["spectral_radius"] == 0
    assert found["departure_from_normality"] == pytest.approx(0.9 * math.sqrt(H - 1))


def test_glorot_normal_has_the_variance_of_glorot():
    W = build("rnn", [0], hidden_size=300, recurrent_init="glorot_normal").recurrent.matrix()
    assert W.std().item() == pytest.approx(math.sqrt(1 / 300), rel=0.01)
    # normal, not uniform: kurtosis 3, not 1.8
    assert ((W / W.std()) ** 4).mean().item() == pytest.approx(3, abs=0.1)


def test_henaff_starts_the_free_matrix_with_uniform_rotations():
    W = build("rnn", [0], hidden_size=201, recurrent_init="henaff").recurrent.matrix()[0].detach()
    torch.testing.assert_close(W.T @ W, torch.eye(201), rtol=0, atol=1e-6)
    blocks = W.clone()
    angles = []
    for first in range(0, 200, 2):
        angles.append(math.atan2(W[first, first + 1], W[first, first]))
        blocks[first : first + 2, first : first + 2] = 0
    assert blocks[-1, -1] == 1
    assert blocks.count_nonzero() == 1
    drawn = torch.tensor(angles)
    assert drawn.abs().mean().item() == pytest.approx(math.pi / 2, abs=4 * math.pi / 2 / 300**0.5)
    assert 30 < (drawn > 0).sum() < 70


def test_the_normalised_positive_start_of_the_np_rnn():
    """Talathi and Vartak: one eigenvalue is 1, all others lie below and are positive."""
    W = build("rnn", [0], hidden_size=64, recurrent_init="positive").recurrent.matrix()[0].detach()
    torch.testing.assert_close(W, W.T)
    values = torch.linalg.eigvalsh(W.double())
    assert values[-1].item() == pytest.approx(1, abs=1e-6)
    # (1 + 0) / (1 + 4) and 1 for R^T R / n, whose eigenvalues lie within 0 and 4 (Marchenko-Pastur)
    assert 0.15 < values[0] < 0.3
    assert (values < 0.9999).sum() == 63


def test_nonlinearity_is_a_component():
    leaky = {"name": "leaky_relu", "slope": 0.3}
    cell = build("rnn", nonlinearity=leaky)
    assert cell.nonlinearity.slope.flatten().tolist() == pytest.approx([0.3] * P)
    assert "nonlinearity" in structure(settings("rnn", nonlinearity=leaky))
    plain = build("exprnn", nonlinearity="identity")
    outputs, _ = plain(inputs_of())
    doubled, _ = plain(2 * inputs_of())
    torch.testing.assert_close(doubled, 2 * outputs)


def test_as_many_generators_as_slots():
    with pytest.raises(ValueError, match="3 slots but 1 generators"):
        CELLS.get("rnn")(I, [settings("rnn")] * 3, [torch.Generator()])


@pytest.mark.parametrize("name", ["gru", "irnn", "lstm", "rnn", "scornn"])
def test_nothing_leaves_the_device(name):
    """The meta device refuses what looks at a value, which on a GPU would wait for it."""
    cell = build(name).to("meta")
    outputs, _ = cell(inputs_of().to("meta"))
    outputs.sum().backward()
    assert outputs.device.type == "meta"


@pytest.mark.parametrize("carried", [1.0, 0.0])
def test_uniform_forget_gates_remember_for_all_lengths(carried):
    """Without input a unit keeps a fraction of its cell at each step, uniform on (1/n, 1 - 1/n)."""
    cell = build("lstm", [0], hidden_size=2000, forget_init="uniform", recurrent_init="identity")
    with torch.no_grad():
        cell.recurrent_weight.zero_()
    blank = torch.zeros(1, 1, 1, I)
    state = (torch.zeros(1, 1, 2000), torch.full((1, 1, 2000), carried))
    kept = cell(blank, state)[1][1].flatten()
    if not carried:
        assert (kept == 0).all()
        return
    assert 1 / 2000 - 1e-5 < kept.min() < 0.01
    assert 0.99 < kept.max() < 1 - 1 / 2000 + 1e-5
    assert kept.std().item() == pytest.approx(1 / math.sqrt(12), rel=0.05)
