"""Products in bfloat16: what is rounded, what is not, and who refuses."""

import math

import pytest
import torch

from longhaul_trainers.catalogue import CELLS, NONLINEARITIES
from longhaul_trainers.errors import SettingError
from longhaul_trainers.precision import PRECISIONS, factor
from longhaul_trainers.scans.elman import elman_scan
from longhaul_trainers.scans.gru import gru_scan
from longhaul_trainers.scans.leaky import leaky_scan
from longhaul_trainers.scans.lstm import lstm_scan
from longhaul_trainers.tasks.copying import Copying, CopyingSettings
from longhaul_trainers.training.model import SequenceModel
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig

T, P, B, H = 5, 2, 3, 7


def config(cell, precision="bfloat16", **training):
    cell = {"name": cell} if isinstance(cell, str) else cell
    return TrialConfig.parse(
        {
            "task": {"name": "copying", "delay": 4},
            "cell": {"hidden_size": 16} | cell,
            "training": {
                "precision": precision,
                "steps": 4,
                "batch_size": 3,
                "validation_size": 8,
                "test_size": 8,
                **training,
            },
        }
    )


def nearest(value):
    """Among the numbers of eight binary digits the nearest one, the even one of two."""
    if value == 0 or not math.isfinite(value):
        return value
    spacing = 2.0 ** (math.frexp(value)[1] - 8)
    return round(value / spacing) * spacing  # Python rounds halves to even


def test_a_factor_is_the_nearest_bfloat16_number():
    drawn = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    halves = torch.tensor([1 + 2.0**-8, 1 + 3 * 2.0**-8, -1 - 2.0**-8, 0.0, 1e30, 3e-30])
    values = torch.cat([drawn, halves])
    rounded = factor(values, "bfloat16")
    assert rounded.tolist() == [nearest(value) for value in values.tolist()]
    assert rounded.dtype == torch.float32
    special = factor(torch.tensor([math.inf, -math.inf, math.nan]), "bfloat16")
    assert special[:2].tolist() == [math.inf, -math.inf]
    assert special[2].isnan()
    assert factor(values, "float32") is values


class RoundedProduct(torch.autograd.Function):
    """h W^T for rows h of one slot: each of the three products reads two rounded factors."""

    @staticmethod
    def forward(ctx, h, W):
        ctx.save_for_backward(h, W)
        return rounded(h) @ rounded(W).T

    @staticmethod
    def backward(ctx, gradient):
        h, W = ctx.saved_tensors
        return rounded(gradient) @ rounded(W), rounded(gradient).T @ rounded(h)


def rounded(values):
    return values.bfloat16().double()


def product(h, W):
    return RoundedProduct.apply(h, W)


def leaf(*shape, seed, scale=1.0):
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()
    return (scale * drawn).requires_grad_()


def nonlinearity(name):
    kind = NONLINEARITIES.get(name)
    generators = [torch.Generator().manual_seed(p) for p in range(P)]
    return kind(H, [kind.settings_type()] * P, generators).double()


def agree(ours, expected, leaves):
    """Outputs and all gradients, for one weighting of the outputs."""
    torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-11)
    weights = leaf(*ours.shape, seed=99).detach()
    mine = torch.autograd.grad(ours, leaves, weights)
    theirs = torch.autograd.grad(expected, leaves, weights)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def step_by_step(step, z, *states):
    """Outputs (T, P, B, H) of ``step(p, z, *states)``, the first of the states each time."""
    outputs = []
    for p in range(P):
        now, seen = [state[p] for state in states], []
        for t in range(T):
            now = step(p, z[t, p], *now)
            seen.append(now[0])
        outputs.append(torch.stack(seen))
    return torch.stack(outputs, 1)


@pytest.mark.parametrize("name", ["identity", "leaky_relu", "modrelu", "tanh", "prelu", "oplu"])
def test_elman_products_read_rounded_factors(name):
    size = H + 1  # OPLU takes pairs
    kind = NONLINEARITIES.get(name)
    generators = [torch.Generator().manual_seed(p) for p in range(P)]
    phi = kind(size, [kind.settings_type()] * P, generators).double()
    W, h0 = leaf(P, size, size, seed=1, scale=0.4), leaf(P, B, size, seed=2)
    z = leaf(T, P, B, size, seed=3)
    ours = elman_scan(W, z, h0, phi, "bfloat16")

    def step(p, x, h):
        whole = torch.stack([product(h, W[p]) + x] * P)  # phi of all slots; this slot's is used
        return (_plain(phi, whole)[p],)

    agree(ours, step_by_step(step, z, h0), [W, z, h0, *phi.parameters()])


def _plain(phi, values):
    """A nonlinearity, differentiated by the scan that the other tests hold to its equations."""
    zeros = values.new_zeros(P, values.shape[2], values.shape[2])
    return elman_scan(zeros, values[None], torch.zeros_like(values), phi)[0]


@pytest.mark.parametrize("with_linear", [False, True])
def test_leaky_products_read_rounded_factors(with_linear):
    W, A = leaf(P, H, H, seed=1, scale=0.4), leaf(P, H, H, seed=4, scale=0.2)
    z, h0 = leaf(T, P, B, H, seed=3), leaf(P, B, H, seed=2)
    gain, keep = leaf(P, seed=5), leaf(P, seed=6)
    linear = A if with_linear else None
    options = {"gain": gain, "keep": keep, "linear": linear, "precision": "bfloat16"}
    ours = leaky_scan(W, z, h0, nonlinearity("tanh"), **options)

    def step(p, x, h):
        new = keep[p] * h + gain[p] * torch.tanh(product(h, W[p]) + x)
        return (new + product(h, A[p]) if with_linear else new,)

    leaves = [W, z, h0, gain, keep, *([A] if with_linear else [])]
    agree(ours, step_by_step(step, z, h0), leaves)


def test_lstm_products_read_rounded_factors():
    U, z = leaf(P, 4 * H, H, seed=1, scale=0.4), leaf(T, P, B, 4 * H, seed=2)
    h0, c0 = leaf(P, B, H, seed=3), leaf(P, B, H, seed=4)
    ours, _ = lstm_scan(U, z, h0, c0, "bfloat16")

    def step(p, x, h, c):
        i, f, g, o = (product(h, U[p]) + x).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    agree(ours, step_by_step(step, z, h0, c0), [U, z, h0, c0])


def test_gru_products_read_rounded_factors():
    U, b = leaf(P, 3 * H, H, seed=1, scale=0.4), leaf(P, H, seed=5)
    z, h0 = leaf(T, P, B, 3 * H, seed=2), leaf(P, B, H, seed=3)
    ours = gru_scan(U, b, z, h0, "bfloat16")

    def step(p, x, h):
        by_r, by_z, by_n = product(h, U[p]).chunk(3, -1)
        r, update, n = x.chunk(3, -1)
        n = torch.tanh(n + (r + by_r).sigmoid() * (by_n + b[p]))
        update = (update + by_z).sigmoid()
        return ((1 - update) * n + update * h,)

    agree(ours, step_by_step(step, z, h0), [U, b, z, h0])


BOTH = [
    name
    for name in CELLS.names()
    if "bfloat16" in CELLS.get(name).precisions(CELLS.get(name).settings_type())
]


def test_who_is_written_for_both():
    assert {"elman", "exprnn", "gru", "lstm", "nnrnn", "ornn", "rnn", "urnn"} <= set(BOTH)
    assert {"indrnn", "linoss", "mingru", "goru", "lem"}.isdisjoint(BOTH)
    assert PRECISIONS[0] == "float32"
    for name in CELLS.names():
        cell = CELLS.get(name)
        known = cell.precisions(cell.settings_type())
        assert set(known) <= set(PRECISIONS)
        assert known[0] == "float32"


@pytest.mark.parametrize("name", BOTH)
def test_the_setting_reaches_the_scan(name):
    losses, weights = [], []
    for precision in PRECISIONS:
        pack = Pack([config(name, precision)])
        (((point,),)) = pack.train()
        losses.append(point.metrics["valid/loss"])
        weights.append(pack.best_weights(0))
    assert losses[1] == pytest.approx(losses[0], rel=0.2)
    exact, coarse = weights
    assert any(not torch.equal(one, coarse[key]) for key, one in exact.items())


def test_what_is_kept_stays_in_float32():
    pack = Pack([config("exprnn")])
    pack.train_step()
    tensors = [*pack.model.state_dict().values(), *pack.optimizer.tensors().values()]
    assert {one.dtype for one in tensors if one.is_floating_point()} <= {
        torch.float32,
        torch.float64,
    }
    cell = pack.model.cell
    states = cell(torch.randn(3, 1, 2, cell.input_size))[0]
    assert not torch.equal(states, factor(states, "bfloat16"))
    weight = pack.model.readout_weight.grad
    assert not torch.equal(weight, factor(weight, "bfloat16"))


@pytest.mark.parametrize(
    "cell",
    [
        "indrnn",
        {"name": "antisymmetric", "gated": True},
        {"name": "lipschitz", "solver": "midpoint"},
        {"name": "lipschitz", "gated": True},
    ],
)
def test_a_cell_whose_scan_is_not_written_for_it_refuses(cell):
    config(cell, "float32")
    with pytest.raises(SettingError) as caught:
        config(cell)
    assert caught.value.path == "training.precision"
    name = cell if isinstance(cell, str) else cell["name"]
    assert f"cell {name} is not written for it" in caught.value.problem
    assert caught.value.problem.endswith("expected float32")


def test_a_model_is_not_built_in_a_precision_that_its_cell_has_not():
    settings = CELLS.get("indrnn").settings_type(hidden_size=4)
    with pytest.raises(ValueError, match="not written for bfloat16"):
        SequenceModel(Copying(CopyingSettings()), [settings], [torch.Generator()], "bfloat16")


def test_a_misspelt_precision_is_refused_with_the_known_ones():
    with pytest.raises(SettingError, match="Known: float32, bfloat16"):
        config("lstm", "bfloat")


def test_trials_of_a_pack_share_their_precision():
    with pytest.raises(ValueError, match="structural"):
        Pack([config("lstm"), config("lstm", "float32")])


def test_configurations_written_before_the_setting_mean_float32():
    old = config("lstm", "float32").dump()
    del old["training"]["precision"]
    assert TrialConfig.parse(old) == config("lstm", "float32")
