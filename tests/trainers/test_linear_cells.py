import math

import pytest
import torch

from longhaul_trainers.cells.linoss import LinOSS, LinOSSSettings
from longhaul_trainers.cells.lru import LRU, LRUSettings
from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import parse
from longhaul_trainers.training.optimizers import AdamWSettings, PackOptimizer


def generators(pack):
    return [torch.Generator().manual_seed(p) for p in range(pack)]


def lru(*slots, inputs=3):
    return LRU(inputs, slots, generators(len(slots)))


def test_lru_eigenvalues_start_in_the_ring_and_sector_of_each_slot():
    wide = LRUSettings(hidden_size=800, layers=1)
    narrow = wide.with_changes(r_min=0.9, r_max=0.99, max_phase=0.1)
    layer = lru(wide, narrow).layers[0]
    modulus, phase = torch.exp(-layer.nu.detach().exp()), layer.theta.detach().exp()
    assert modulus[1].min() >= 0.9 - 1e-6
    assert modulus[1].max() <= 0.99 + 1e-6
    assert phase[1].max() <= 0.1 + 1e-6
    # squares uniform on (0, 1), phases on (0, 2 pi), to three standard errors of 400 draws
    assert modulus[0].square().mean() == pytest.approx(0.5, abs=3 * math.sqrt(1 / 12 / 400))
    assert phase[0].mean() == pytest.approx(math.pi, abs=3 * 2 * math.pi * math.sqrt(1 / 12 / 400))
    assert modulus[0].isfinite().all()
    assert layer.gamma.isfinite().all()


def test_lru_gamma_gives_the_state_the_variance_of_its_input():
    settings = LRUSettings(hidden_size=8, layers=1, mode="bare", r_min=0.5, r_max=0.9)
    cell = lru(settings, inputs=1)
    x = torch.randn(100, 1, 1000, 1, generator=torch.Generator().manual_seed(1))
    _, (state,) = cell(x)
    expected = cell.layers[0].input_weight.square().view(2, -1).sum(0)
    torch.testing.assert_close(
        state.square().mean((0, 1)).sum(0) / expected, torch.ones(4), rtol=0.15, atol=0
    )


def test_lru_recurrence_learns_at_its_own_rate_and_without_decay():
    settings = LRUSettings(hidden_size=4, layers=2)
    cell = lru(settings, settings.with_changes(learning_rate_ratio=0.25))
    groups = {group.name: group for group in cell.parameter_groups()}
    recurrent = {
        name
        for name, one in cell.named_parameters()
        if any(one is other for other in groups["recurrent"].parameters)
    }
    names = ("nu", "theta", "gamma", "input_weight")
    assert recurrent == {f"layers.{depth}.{name}" for depth in range(2) for name in names}
    before = {name: one.detach().clone() for name, one in cell.named_parameters()}
    for one in cell.parameters():
        one.grad = torch.zeros_like(one)
    slots = [AdamWSettings(learning_rate=0.1, weight_decay=0.5)] * 2
    optimizer = PackOptimizer(cell.parameter_groups(), slots)
    optimizer.step(torch.ones(2, dtype=torch.bool), torch.ones(2))
    for name, one in cell.named_parameters():
        factor = 1.0 if name in recurrent else 0.95
        torch.testing.assert_close(one.detach(), factor * before[name])
    torch.testing.assert_close(groups["recurrent"].learning_rate_ratio, torch.tensor([0.5, 0.25]))


def test_lru_refuses_an_empty_ring():
    with pytest.raises(SettingError, match="r_min"):
        parse(LRUSettings, {"r_min": 0.9, "r_max": 0.9})


def linoss(**values):
    settings = LinOSSSettings(hidden_size=3, layers=1, mode="bare", **values)
    cell = LinOSS(2, [settings], generators(1)).double()
    silent = torch.zeros(500, 1, 2, 2, dtype=torch.float64)
    start = torch.randn(1, 2, 2, 6, generator=torch.Generator().manual_seed(5)).double()
    _, (state,) = cell(silent, (start,))
    return cell, start, state


def test_linoss_imex_neither_forgets_nor_explodes():
    cell, start, end = linoss(discretization="imex")
    A = cell.layers[0].frequency.relu().repeat(1, 2)[:, None]
    dt = cell.layers[0].step.sigmoid().repeat(1, 2)[:, None]

    def energy(state):
        """What the symplectic scheme keeps exactly: z^2 + A y^2 - dt A z y."""
        z, y = state.unbind(2)
        return z * z + A * y * y - dt * A * z * y

    torch.testing.assert_close(energy(end), energy(start))
    radius = cell.diagnostics()["spectral_radius"]
    torch.testing.assert_close(radius, torch.ones_like(radius))


def test_linoss_im_forgets():
    cell, start, end = linoss(discretization="im")
    layer = cell.layers[0]
    A, dt = layer.frequency.relu(), layer.step.sigmoid()
    modulus = (1 + dt**2 * A).rsqrt()
    torch.testing.assert_close(cell.diagnostics()["spectral_radius"], modulus.amax(1))
    assert end.abs().max() < start.abs().max()


def test_linoss_imex_beyond_its_stable_steps_is_seen():
    cell, _, _ = linoss(discretization="imex")
    with torch.no_grad():
        cell.layers[0].frequency.fill_(30.0)
    assert cell.diagnostics()["spectral_radius"] > 1
