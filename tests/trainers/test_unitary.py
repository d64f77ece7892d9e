"""What the complex and rotating matrices promise beyond the contract of every matrix."""

import math

import pytest
import torch

from longhaul_trainers.catalogue import CELLS, MATRICES
from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import parse_component


def build(name, size, seed=0, **values):
    slot = parse_component(MATRICES, {"name": name, **values})
    return MATRICES.get(name)(size, [slot], [torch.Generator().manual_seed(seed)]).double()


def cell(name, **values):
    slot = parse_component(CELLS, {"name": name, **values})
    return CELLS.get(name)(3, [slot], [torch.Generator().manual_seed(0)])


def dimensions(matrix):
    """The rank of the derivative of W by all parameters."""
    names = [name for name, _ in matrix.named_parameters()]
    shapes = [one.shape for one in matrix.parameters()]
    sizes = [shape.numel() for shape in shapes]
    flat = torch.cat([one.detach().flatten() for one in matrix.parameters()])

    def product(flat):
        given = [one.view(shape) for one, shape in zip(flat.split(sizes), shapes, strict=True)]
        call = torch.func.functional_call(_Product(matrix), _named(names, given), ())
        return call.flatten()

    return torch.linalg.matrix_rank(torch.autograd.functional.jacobian(product, flat)).item()


class _Product(torch.nn.Module):
    def __init__(self, matrix):
        super().__init__()
        self.inner = matrix

    def forward(self):
        return self.inner.matrix()


def _named(names, given):
    return {f"inner.{name}": one for name, one in zip(names, given, strict=True)}


def test_rotations_in_as_many_layers_as_units_have_the_dimensions_of_all_unitary_matrices():
    assert dimensions(build("eunn", 4, layers=4)) == 4**2
    assert dimensions(build("eunn", 4, layers=4, complex_valued=False)) == 4 * 3 // 2
    assert dimensions(build("eunn", 4, layers=2)) < 4**2


def test_seven_numbers_a_unit_reach_fewer_dimensions_than_all_unitary_matrices_have():
    assert dimensions(build("restricted_unitary", 8)) <= 7 * 8 - 4  # lengths, phases of the v
    assert 7 * 8 < 8**2


def test_length_and_phase_of_a_complex_reflection_do_not_matter():
    matrix = build("restricted_unitary", 5)
    before = matrix.matrix()
    with torch.no_grad():
        v = torch.complex(*matrix.reflections[0, 1]) * 3 * torch.exp(torch.tensor(0.7j))
        matrix.reflections[0, 1] = torch.stack([v.real, v.imag])
    torch.testing.assert_close(matrix.matrix(), before)


def test_each_trial_has_a_permutation_of_its_own_that_the_checkpoint_keeps():
    first, second = (build("restricted_unitary", 64, seed) for seed in (0, 1))
    assert not torch.equal(first.permutation, second.permutation)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.matrix(), second.matrix())


def test_butterflies_connect_all_units_in_log2_layers():
    W = build("eunn", 16, style="fft", complex_valued=False).matrix()
    assert (W.abs() > 1e-12).all()
    assert (build("eunn", 16, layers=4, complex_valued=False).matrix() == 0).any()


def test_angles_start_uniform_on_the_circle():
    angles = build("eunn", 64, layers=64).theta
    assert angles.abs().max() <= math.pi
    assert angles.std().item() == pytest.approx(2 * math.pi / math.sqrt(12), rel=0.05)


@pytest.mark.parametrize(
    ("values", "path", "message"),
    [
        ({"layers": 3}, "layers", "expected an even number, found 3"),
        ({"hidden_size": 7}, "hidden_size", "needs an even number"),
        ({"hidden_size": 12, "style": "fft"}, "hidden_size", "needs a power of 2"),
        ({"hidden_size": 4, "layers": 6}, "layers", "for 6 layers"),
        ({"complex_valued": False}, "nonlinearity", "couples real and imaginary parts"),
    ],
)
def test_eurnn_refuses_what_cannot_be_paired(values, path, message):
    with pytest.raises(SettingError, match=message) as caught:
        cell("eurnn", **values)
    assert caught.value.path == path


def test_real_parts_come_first_in_the_state():
    urnn = cell("urnn", hidden_size=4)
    assert urnn.output_size == 8
    assert urnn.input_weight.shape == (1, 8, 3)
    W = urnn.recurrent.matrix()[0]
    assert torch.equal(W[:4, :4], W[4:, 4:])
    assert torch.equal(W[:4, 4:], -W[4:, :4])


def test_urnn_input_weights_are_glorot_for_the_number_of_complex_units():
    slot = parse_component(CELLS, {"name": "urnn", "hidden_size": 500})
    weight = CELLS.get("urnn")(20, [slot], [torch.Generator()]).input_weight
    bound = math.sqrt(6 / 520)
    assert bound * 0.99 < weight.abs().max() <= bound


def test_goru_with_open_gates_turns_its_state_and_keeps_its_length():
    goru = cell("goru", hidden_size=8, bias_init="zero", offset=0.0, reset_bias=50.0).double()
    with torch.no_grad():
        goru.input_weight.zero_()
        goru.bias[:, 8:16] = -50
    h = torch.randn(1, 2, 8, dtype=torch.float64)
    outputs, _ = goru(torch.zeros(20, 1, 2, 3, dtype=torch.float64), (h,))
    expected = h.norm(dim=-1).expand(20, 1, 2)
    torch.testing.assert_close(outputs.norm(dim=-1), expected)
    assert (outputs[-1] - h).norm() > 0.1


@pytest.mark.parametrize(
    ("matrix", "path"),
    [
        ("restricted_unitary", "matrix"),
        ({"name": "eunn", "layers": 12, "complex_valued": False}, "matrix.layers"),
        ({"name": "eunn", "layers": 3, "complex_valued": False}, "matrix.layers"),
    ],
)
def test_goru_refuses_a_matrix_that_does_not_fit(matrix, path):
    with pytest.raises(SettingError) as caught:
        cell("goru", hidden_size=10, matrix=matrix)
    assert caught.value.path == path


def test_gorus_update_gate_starts_as_its_authors_library_made_it():
    goru = cell("goru", hidden_size=512)
    reset, update, candidate = goru.bias[0].chunk(3)
    assert (reset == 2).all()
    assert (candidate == torch.tensor(0.01)).all()
    assert update.std().item() == pytest.approx(1 / math.sqrt(512), rel=0.1)


def test_a_trained_diagonal_takes_the_place_of_chosen_signs():
    matrix = build("unitary_cayley", 4)
    assert dimensions(matrix) == 4**2
    with torch.no_grad():
        matrix.theta[0] = torch.tensor([0.0, 0.0, 0.0, math.pi])
    real = build("cayley", 4, rho=0.25)
    torch.testing.assert_close(matrix.matrix()[0, :4, :4], real.matrix()[0])
    assert matrix.matrix()[0, :4, 4:].abs().max() < 1e-6


def test_the_angles_of_d_have_a_rate_and_an_optimiser_of_their_own():
    groups = cell("scurnn", phase_learning_rate_ratio=0.3).parameter_groups()
    found = {group.name: group for group in groups}
    assert found["phases"].learning_rate_ratio.item() == pytest.approx(0.3)
    assert found["recurrent"].learning_rate_ratio.item() == pytest.approx(0.1)
    assert (found["phases"].optimizer, found["recurrent"].optimizer) == (None, "rmsprop")
    assert cell("scurnn").initial.abs().max() <= 0.01
