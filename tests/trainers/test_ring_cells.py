import pytest
import torch

from longhaul_trainers.catalogue import CELLS, MATRICES
from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import parse_component


def cell(name, inputs=1, **values):
    settings = parse_component(CELLS, {"name": name} | values)
    return CELLS.get(name)(inputs, [settings], [torch.Generator().manual_seed(0)])


def test_a_wave_carries_the_last_inputs_along_every_ring():
    built = cell("wrnn", hidden_size=12, channels=2, input_init="single")
    x = torch.arange(1.0, 5.0).view(4, 1, 1, 1)
    h = built(x)[0][-1, 0, 0].view(2, 6)
    # the newest input in the first unit, the one before in the last, and so on backwards
    assert h.tolist() == [[4, 0, 0, 1, 2, 3]] * 2


def test_a_standing_ring_adds_up_its_inputs():
    built = cell("wrnn", hidden_size=4, channels=1, input_init="single", recurrent_init="identity")
    x = torch.arange(1.0, 5.0).view(4, 1, 1, 1)
    assert built(x)[0][-1, 0, 0].tolist() == [10, 0, 0, 0]


def test_a_shift_of_a_kernel_of_one_entry_is_the_identity():
    settings = parse_component(MATRICES, {"name": "circular", "kernel_size": 1, "channels": 2})
    built = MATRICES.get("circular")(6, [settings], [torch.Generator()])
    assert torch.equal(built.matrix()[0].detach(), torch.eye(6))


def test_what_makes_no_rings_is_refused():
    with pytest.raises(SettingError, match=r"cell\.hidden_size: expected a multiple of channels"):
        parse_component(CELLS, {"name": "wrnn", "hidden_size": 20, "channels": 6}, "cell")
    with pytest.raises(SettingError, match="kernel_size: expected an odd number, found 4"):
        parse_component(CELLS, {"name": "wrnn", "kernel_size": 4})


def test_what_enters_a_shifted_state_comes_back_after_as_many_steps_as_units():
    built = cell("srnn", hidden_size=5)
    with torch.no_grad():
        for bias in built.biases:
            bias.zero_()  # so that no input adds nothing
    x = torch.zeros(6, 1, 1, 1)
    x[0] = 1
    h = built(x)[0][:, 0, 0]
    assert h[0].max() > 0
    for step in range(6):
        assert torch.equal(h[step], h[0].roll(step))


def test_the_gate_of_the_shifted_cell_can_be_left_out():
    gated, plain = cell("srnn", inputs=3), cell("srnn", inputs=3, gated=False)
    counts = [sum(one[0].numel() for one in built.parameters()) for built in (gated, plain)]
    assert counts[0] - counts[1] == 4 * 128
