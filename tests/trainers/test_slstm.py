import pytest
import torch

from longhaul_trainers.cells.slstm import SLSTM, SLSTMSettings
from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import parse


def slstm(inputs=1, **values):
    settings = SLSTMSettings(**({"hidden_size": 8, "heads": 2} | values))
    return SLSTM(inputs, [settings], [torch.Generator().manual_seed(0)])


@pytest.mark.parametrize("scale", [1e3, -1e3])
def test_gates_of_a_thousand_overflow_nothing(scale):
    cell = slstm(forget_gate="exponential")
    with torch.no_grad():
        cell.layers[0].bias.view(4, 8)[:2] = scale
    outputs, _ = cell(torch.ones(50, 1, 2, 1))
    outputs.sum().backward()
    assert outputs.isfinite().all()
    assert all(one.grad.isfinite().all() for one in cell.parameters())
    # With equal weights of everything seen, h is o times the mean of equal z.
    assert outputs.abs().max() < 1


def test_a_large_input_gate_revises_what_was_stored():
    cell = slstm()
    layer = cell.layers[0]
    with torch.no_grad():
        layer.input_weight.zero_()
        layer.bias.zero_()
        i, _, z, _ = layer.input_weight.view(4, 8)
        layer.bias.view(4, 8)[1] = 50.0  # nothing is forgotten
        layer.bias.view(4, 8)[3] = 50.0  # all is shown
        z.fill_(1.0)
        i.fill_(10.0)
    x = torch.tensor([0.1, 0.1, 2.0]).view(3, 1, 1, 1)
    hidden = cell(x)[0].detach()
    assert hidden[1, 0, 0, 0] == pytest.approx(torch.tanh(torch.tensor(0.1)).item(), rel=1e-4)
    assert hidden[2, 0, 0, 0] == pytest.approx(torch.tanh(torch.tensor(2.0)).item(), rel=1e-4)


def test_forget_biases_fall_within_each_head_and_slower_in_deeper_layers():
    cell = slstm(layers=3, hidden_size=8)
    first, _, last = (layer.bias.view(4, 2, 4)[1] for layer in cell.layers)
    place = torch.tensor([0, 1 / 3, 2 / 3, 1])
    for head in range(2):
        torch.testing.assert_close(first[head], 5 - 12 * place**0.3)
        torch.testing.assert_close(last[head], 5 - 12 * place**1.6)


def test_recurrent_gradient_can_be_cut_or_clipped():
    x = torch.randn(6, 1, 3, 1, generator=torch.Generator().manual_seed(1))

    def gradients(**values):
        cell = slstm(recurrent_init="uniform", **values)
        outputs, _ = cell(x)
        outputs[-1].sum().backward()
        return outputs.detach(), cell.layers[0].input_weight.grad

    plain, through = gradients()
    same, cut = gradients(recurrent_gradient=False)
    also, clipped = gradients(recurrent_clip=1e-9)
    assert torch.equal(plain, same)
    assert torch.equal(plain, also)
    assert not torch.allclose(through, cut)
    torch.testing.assert_close(clipped, cut)


def test_heads_must_divide_the_hidden_size():
    with pytest.raises(SettingError, match="divisor of hidden_size 10"):
        parse(SLSTMSettings, {"hidden_size": 10, "heads": 4})
