"""The cell of any matrix and any nonlinearity, against the published cells that it contains."""

import pytest
import torch

from longhaul_trainers.catalogue import CELLS, MATRICES, NONLINEARITIES
from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import parse_component, structure

T, P, B, I, H = 4, 2, 3, 3, 8  # noqa: E741
SIZE = 16  # all matrices accept it


def build(name, **values):
    slots = [parse_component(CELLS, {"name": name, "hidden_size": H} | values)] * P
    return CELLS.get(name)(I, slots, [torch.Generator().manual_seed(p) for p in range(P)])


def groups_of(cell):
    return [
        (
            group.name,
            group.learning_rate_ratio.tolist(),
            group.decay,
            group.optimizer,
            [tuple(parameter.shape) for parameter in group.parameters],
        )
        for group in cell.parameter_groups()
    ]


@pytest.mark.parametrize(
    ("name", "own", "composed"),
    [
        ("rnn", {}, {}),
        (
            "irnn",
            {"identity_scale": 0.5, "initial_state": "learned"},
            {
                "matrix": {"name": "free", "recurrent_init": "identity", "recurrent_gain": 0.5},
                "nonlinearity": "relu",
                "input_init": "normal",
                "input_gain": 0.001,
                "initial_state": "learned",
            },
        ),
        (
            "exprnn",
            {"skew_init": "cayley"},
            {
                "matrix": {"name": "exponential", "skew_init": "cayley"},
                "nonlinearity": "modrelu",
                "bias": False,
                "input_init": "kaiming_normal",
            },
        ),
        (
            "scornn",
            {"rho": 0.3},
            {
                "matrix": {"name": "cayley", "rho": 0.3},
                "nonlinearity": {"name": "modrelu", "bias_init": "zero"},
                "bias": False,
                "input_init": "uniform",
                "input_gain": 0.01,
            },
        ),
        (
            "ornn",
            {"reflections": 4},
            {
                "matrix": {"name": "householder", "reflections": 4},
                "nonlinearity": {"name": "leaky_relu", "slope": 0.1},
                "initial_state": "learned",
            },
        ),
    ],
)
def test_a_published_cell_is_one_point_of_it(name, own, composed):
    published, same = build(name, **own), build("elman", **composed)
    x = torch.randn(T, P, B, I, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(same(x)[0], published(x)[0], rtol=1e-6, atol=1e-7)
    assert groups_of(same) == groups_of(published)
    count = CELLS.get(name).parameter_count(I, published.slots[0])
    assert CELLS.get("elman").parameter_count(I, same.slots[0]) == count


@pytest.mark.parametrize("matrix", MATRICES.names())
def test_takes_every_matrix(matrix):
    cell = build("elman", matrix={"name": matrix}, hidden_size=SIZE)
    x = torch.randn(T, P, B, I, generator=torch.Generator().manual_seed(5))
    outputs, _ = cell(x)
    assert outputs.shape == (T, P, B, cell.output_size)
    assert cell.recurrent.matrix().shape == (P, cell.output_size, cell.output_size)
    penalty = cell.penalty()
    (outputs.square().sum() + (0 if penalty is None else penalty.sum())).backward()
    assert all(one.grad is not None for one in cell.parameters())
    count = CELLS.get("elman").parameter_count(I, cell.slots[0])
    assert count == sum(one[0].numel() for one in cell.parameters())
    cell.after_step()
    assert set(cell.diagnostics()) >= {"orthogonality_error", "spectral_radius"}


@pytest.mark.parametrize("nonlinearity", NONLINEARITIES.names())
def test_takes_every_nonlinearity(nonlinearity):
    cell = build("elman", nonlinearity=nonlinearity, matrix="restricted_unitary")
    x = torch.randn(T, P, B, I, generator=torch.Generator().manual_seed(5))
    cell(x)[0].sum().backward()
    assert all(one.grad is not None for one in cell.parameters())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"matrix": {"name": "householder", "reflections": 9}},
            r"cell\.matrix\.reflections: found 9 reflections of 8",
        ),
        ({"matrix": {"name": "cayley", "rho": -1}}, r"cell\.matrix\.rho: expected a number >= 0"),
        ({"learning_rate_ratio": 0.1}, r"cell\.learning_rate_ratio: unknown key"),
        (
            {"matrix": "caley"},
            r"cell\.matrix\.name: unknown recurrent matrix 'caley'; did you mean",
        ),
    ],
)
def test_what_the_matrix_refuses_is_told_where_it_is_written(values, message):
    with pytest.raises(SettingError, match=f"^{message}"):
        parse_component(CELLS, {"name": "elman", "hidden_size": 8} | values, "cell")


@pytest.mark.parametrize(
    "values",
    [
        {"matrix": "schur"},
        {"matrix": "eunn"},
        {"matrix": "free", "nonlinearity": "oplu"},
        {"matrix": "free", "nonlinearity": "complex_modrelu"},
    ],
)
def test_an_odd_size_is_refused_before_anything_is_built(values):
    with pytest.raises(SettingError, match=r"^cell\.hidden_size: "):
        parse_component(CELLS, {"name": "elman", "hidden_size": 7} | values, "cell")
    parse_component(CELLS, {"name": "elman", "hidden_size": 8} | values, "cell")


def test_trials_with_other_matrices_cannot_share_a_pack():
    cayley = parse_component(CELLS, {"name": "elman", "matrix": {"name": "cayley", "rho": 0.1}})
    other = parse_component(CELLS, {"name": "elman", "matrix": {"name": "cayley", "rho": 0.7}})
    free = parse_component(CELLS, {"name": "elman", "matrix": "free"})
    assert structure(cayley) == structure(other)
    assert structure(cayley) != structure(free)


def test_input_weights_start_as_told():
    cell = CELLS.get("elman")
    drawn = {}
    for init in ("glorot", "glorot_normal", "kaiming_normal", "normal", "uniform"):
        slot = parse_component(CELLS, {"name": "elman", "input_init": init, "input_gain": 2.0})
        drawn[init] = cell.draw_input(slot, 300, 100, torch.Generator().manual_seed(0)) / 2
    deviation = {init: one.std().item() for init, one in drawn.items()}
    expected = {
        "glorot": (2 / 400) ** 0.5,
        "glorot_normal": (2 / 400) ** 0.5,
        "kaiming_normal": (2 / 100) ** 0.5,
        "normal": 1.0,
        "uniform": (1 / 3) ** 0.5,
    }
    assert deviation == pytest.approx(expected, rel=0.02)
    assert drawn["glorot"].abs().max() <= (6 / 400) ** 0.5
    assert drawn["uniform"].abs().max() <= 1
