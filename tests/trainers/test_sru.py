import math

import pytest
import torch

from longhaul_trainers.catalogue import CELLS
from longhaul_trainers.settings import parse_component


def build(inputs, **values):
    common = {"name": "sru", "hidden_size": 400, "layers": 1}
    settings = parse_component(CELLS, common | values)
    return CELLS.get("sru")(inputs, [settings], [torch.Generator().manual_seed(0)])


@pytest.mark.parametrize(("inputs", "matrices"), [(400, 3), (100, 4)])
def test_inputs_of_the_size_of_the_state_skip_the_layer_as_they_are(inputs, matrices):
    layer = build(inputs).layers[0]
    assert layer.input_weight.shape == (1, matrices * 400, inputs)


def test_initial_variances_are_those_of_the_authors():
    layer = build(100, highway_bias=-2.0).layers[0]
    found = [one.detach().var().item() * 100 for one in layer.input_weight[0].split(400)]
    skip = 1 + 2 * math.exp(-2)
    assert found == pytest.approx([1, 0.5, 0.5, skip], rel=0.02)
    assert layer.recurrent_weight.detach().var().item() == pytest.approx(0.5, rel=0.15)
    assert layer.bias[0].tolist() == [0] * 400 + [-2] * 400


def test_as_first_published_the_gates_do_not_read_the_state():
    cell = build(3, recurrent_gates=False)
    assert cell.layers[0].recurrent_weight is None
    x = torch.zeros(2, 1, 1, 3)
    states = torch.stack([torch.full((1, 1, 400), value) for value in (1.0, 2.0)])
    one, two = (cell(x, (state,))[1][0] for state in states)
    torch.testing.assert_close(two, 2 * one)
