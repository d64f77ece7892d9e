import math

import pytest
import torch

from longhaul_trainers.cells.gru import GRU, GRUSettings
from longhaul_trainers.cells.lstm import LSTM, LSTMSettings
from longhaul_trainers.errors import SettingError
from longhaul_trainers.scans import gru, lstm
from longhaul_trainers.scans.gru import gru_scan
from longhaul_trainers.scans.lstm import lstm_scan
from longhaul_trainers.scans.native import library
from longhaul_trainers.settings import parse

T, P, B, I, H = 7, 3, 4, 5, 6  # noqa: E741


@pytest.fixture(params=["compiled", "torch"])
def _scans(request, monkeypatch):
    """Runs a test with the compiled scans, and with those written with torch."""
    if request.param == "compiled" and library.library() is None:
        pytest.skip("no C++ compiler here")
    if request.param == "torch":
        for module in (gru, lstm):
            monkeypatch.setattr(module, "serves", lambda states: False)


both = pytest.mark.usefixtures("_scans")


def generators(pack=P):
    return [torch.Generator().manual_seed(seed) for seed in range(pack)]


def normal(*shape, dtype=torch.float64):
    seed = sum(shape)
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def build(kind):
    settings = LSTMSettings if kind is LSTM else GRUSettings
    cell = kind(I, [settings(hidden_size=H)] * P, generators()).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.3 * normal(*parameter.shape))
    return cell


def reference(cell, p):
    """torch's own cell with slot p's weights."""
    kind = torch.nn.LSTM if isinstance(cell, LSTM) else torch.nn.GRU
    theirs = kind(I, H).double()
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(cell.input_weight[p])
        theirs.weight_hh_l0.copy_(cell.recurrent_weight[p])
        theirs.bias_ih_l0.copy_(cell.bias[p])
        theirs.bias_hh_l0.zero_()
        if isinstance(cell, GRU):
            theirs.bias_hh_l0[2 * H :] = cell.candidate_bias[p]
    return theirs


@both
@pytest.mark.parametrize("kind", [LSTM, GRU])
@pytest.mark.parametrize("carried", [False, True])
def test_equals_the_library_cell(kind, carried):
    cell = build(kind)
    x = normal(T, P, B, I).requires_grad_()
    count = 2 if kind is LSTM else 1
    state = tuple(normal(P, B, H + n)[..., :H].clone().requires_grad_() for n in range(count))
    outputs, last = cell(x, state if carried else None)
    weights, last_weights = normal(T, P, B, H), [normal(P, B, H)] * count
    loss = (outputs * weights).sum() + sum(
        (one * weight).sum() for one, weight in zip(last, last_weights, strict=True)
    )
    loss.backward()
    for p in range(P):
        theirs = reference(cell, p)
        their_x = x[:, p].detach().clone().requires_grad_()
        their_state = [one[p : p + 1].detach().clone().requires_grad_() for one in state]
        given = their_state[0] if kind is GRU else tuple(their_state)
        their_outputs, their_last = theirs(their_x, given if carried else None)
        their_last = [their_last] if kind is GRU else their_last
        torch.testing.assert_close(outputs[:, p], their_outputs)
        for one, other in zip(last, their_last, strict=True):
            torch.testing.assert_close(one[p : p + 1], other)
        their_loss = (their_outputs * weights[:, p]).sum() + sum(
            (one * weight[p]).sum() for one, weight in zip(their_last, last_weights, strict=True)
        )
        their_loss.backward()
        torch.testing.assert_close(x.grad[:, p], their_x.grad)
        torch.testing.assert_close(cell.input_weight.grad[p], theirs.weight_ih_l0.grad)
        torch.testing.assert_close(cell.recurrent_weight.grad[p], theirs.weight_hh_l0.grad)
        torch.testing.assert_close(cell.bias.grad[p], theirs.bias_ih_l0.grad)
        if kind is GRU:
            their_bias = theirs.bias_hh_l0.grad[2 * H :]
            torch.testing.assert_close(cell.candidate_bias.grad[p], their_bias)
        if carried:
            for one, other in zip(state, their_state, strict=True):
                torch.testing.assert_close(one.grad[p : p + 1], other.grad)


@both
def test_gradcheck():
    wide = [normal(2, 12, 3), normal(3, 2, 2, 12), normal(2, 2, 3), normal(2, 2, 3)]
    assert torch.autograd.gradcheck(lstm_scan, [leaf.requires_grad_() for leaf in wide])
    wide = [normal(2, 9, 3), normal(2, 3), normal(3, 2, 2, 9), normal(2, 2, 3)]
    assert torch.autograd.gradcheck(gru_scan, [leaf.requires_grad_() for leaf in wide])


@both
@pytest.mark.parametrize("kind", [LSTM, GRU])
@pytest.mark.parametrize("shape", [(9, 20, 10, 64), (5, 3, 1, 7), (1, 3, 4, 5), (4, 1, 3, 33)])
def test_a_slot_has_the_same_bits_alone_and_in_a_pack(kind, shape):
    steps, batch, inputs, size = shape
    settings = LSTMSettings if kind is LSTM else GRUSettings
    x = normal(steps, 4, batch, inputs, dtype=torch.float32)
    weights = normal(steps, 4, batch, size, dtype=torch.float32)

    def run(slots):
        drawn = [torch.Generator().manual_seed(p) for p in slots]
        cell = kind(inputs, [settings(hidden_size=size)] * len(slots), drawn)
        outputs, _ = cell(x[:, slots])
        return outputs, torch.autograd.grad(outputs, list(cell.parameters()), weights[:, slots])

    together, by_together = run([0, 1, 2, 3])
    for p in range(4):
        alone, by_alone = run([p])
        assert torch.equal(alone[:, 0], together[:, p])
        for one, all_slots in zip(by_alone, by_together, strict=True):
            assert torch.equal(one[0], all_slots[p])


def test_forget_biases_of_the_slots():
    slots = [
        LSTMSettings(hidden_size=1000, recurrent_init="identity", forget_bias=2.5),
        LSTMSettings(
            hidden_size=1000, recurrent_init="identity", forget_init="chrono", chrono_max=500
        ),
    ]
    cell = LSTM(1, slots, generators(2))
    constant, chrono = cell.bias.detach().view(2, 4, 1000)
    assert (constant[1] == 2.5).all()
    assert (constant[[0, 2, 3]] == 0).all()
    i, f, g, o = chrono
    assert (i == -f).all()
    assert (g == 0).all()
    assert (o == 0).all()
    drawn = f.exp()
    assert drawn.min() >= 1
    assert drawn.max() <= 499 * 1.0001
    # uniform on (1, 499): mean 250, deviation 498 / sqrt(12)
    assert drawn.mean() == pytest.approx(250, abs=5 * 498 / math.sqrt(12 * 1000))
    assert drawn.std() == pytest.approx(498 / math.sqrt(12), rel=0.05)


def test_chrono_needs_to_know_how_long():
    with pytest.raises(SettingError, match=r"^cell\.chrono_max: missing; forget_init: chrono"):
        parse(LSTMSettings, {"forget_init": "chrono"}, "cell")
