"""The packed optimisers against torch.optim, one slot at a time."""

import pytest
import torch
from torch import nn

from longhaul_trainers.catalogue import OPTIMIZERS
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.scans.native import library
from longhaul_trainers.training.optimizers import (
    AdamSettings,
    AdamWSettings,
    OptimizerSettings,
    PackOptimizer,
    RMSpropSettings,
    SGDSettings,
    gradient_norms,
)

SLOTS: dict[str, list[OptimizerSettings]] = {
    "sgd": [
        SGDSettings(learning_rate=0.1, momentum=0.0),
        SGDSettings(learning_rate=0.02, momentum=0.9, weight_decay=0.1),
        SGDSettings(learning_rate=0.05, momentum=0.5),
    ],
    "rmsprop": [
        RMSpropSettings(learning_rate=0.1),
        RMSpropSettings(learning_rate=0.01, alpha=0.99, eps=1e-4, weight_decay=0.2),
        RMSpropSettings(learning_rate=0.03, alpha=0.5),
    ],
    "adam": [
        AdamSettings(learning_rate=0.1),
        AdamSettings(learning_rate=0.01, beta1=0.0, beta2=0.9, weight_decay=0.2),
        AdamSettings(learning_rate=0.03, eps=1e-3),
    ],
    "adamw": [
        AdamWSettings(learning_rate=0.1),
        AdamWSettings(learning_rate=0.01, beta1=0.5, weight_decay=0.2),
        AdamWSettings(learning_rate=0.03, weight_decay=0.01),
    ],
}


@pytest.fixture(params=["compiled", "torch"])
def written_with(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(library, "library", lambda: None)


def torch_optimizer(settings: OptimizerSettings, parameters, ratio: float) -> torch.optim.Optimizer:
    common = {"lr": settings.learning_rate * ratio, "weight_decay": settings.weight_decay}
    match settings:
        case SGDSettings():
            return torch.optim.SGD(parameters, momentum=settings.momentum, **common)
        case RMSpropSettings():
            return torch.optim.RMSprop(parameters, alpha=settings.alpha, eps=settings.eps, **common)
        case AdamWSettings() | AdamSettings():
            kind = torch.optim.AdamW if isinstance(settings, AdamWSettings) else torch.optim.Adam
            betas = (settings.beta1, settings.beta2)
            return kind(parameters, betas=betas, eps=settings.eps, **common)
    raise AssertionError(settings)


def loss(weight: torch.Tensor, bias: torch.Tensor, step: int) -> torch.Tensor:
    # Not a quadratic bowl: gradients change sign and size, so that every running average matters.
    return ((weight.sin() * (1 + step % 3)).sum(-1) - bias).square().mean() + weight.cos().sum()


@pytest.mark.parametrize("name", sorted(SLOTS))
@pytest.mark.usefixtures("written_with")
def test_each_slot_moves_as_torch_optim_moves_it(name):
    generator = torch.Generator().manual_seed(0)
    slots = SLOTS[name]
    start = torch.randn(3, 4, 2, generator=generator), torch.randn(3, 4, generator=generator)
    ratio = torch.tensor([1.0, 0.1, 2.0])
    packed = tuple(nn.Parameter(t.clone()) for t in start)
    mine = PackOptimizer([ParameterGroup("main", packed, ratio)], slots)
    alone = [[nn.Parameter(t[p].clone()) for t in start] for p in range(3)]
    oracles = [
        torch_optimizer(one, parameters, ratio[p].item())
        for p, (one, parameters) in enumerate(zip(slots, alone, strict=True))
    ]
    for step in range(20):
        for parameter in packed:
            parameter.grad = None
        sum(loss(packed[0][p], packed[1][p], step) for p in range(3)).backward()
        mine.step(torch.ones(3, dtype=torch.bool), torch.ones(3))
        for parameters, oracle in zip(alone, oracles, strict=True):
            oracle.zero_grad()
            loss(*parameters, step).backward()
            oracle.step()
    for p in range(3):
        for parameter, expected in zip(packed, alone[p], strict=True):
            torch.testing.assert_close(parameter[p], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(SLOTS))
@pytest.mark.usefixtures("written_with")
def test_an_inactive_slot_stays_and_its_nan_reaches_nobody(name):
    parameter = nn.Parameter(torch.ones(2, 3))
    neighbour = nn.Parameter(torch.ones(2, 3))
    optimizers = [
        PackOptimizer([ParameterGroup("main", (one,), torch.ones(2))], SLOTS[name][:2])
        for one in (parameter, neighbour)
    ]
    parameter.grad = torch.tensor([[1.0, 2.0, 3.0], [float("nan")] * 3])
    neighbour.grad = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    optimizers[0].step(torch.tensor([True, False]), torch.tensor([0.5, float("nan")]))
    optimizers[1].step(torch.tensor([True, True]), torch.tensor([0.5, 1.0]))
    assert torch.equal(parameter[1], torch.ones(3))
    assert torch.equal(parameter[0], neighbour[0])
    assert not torch.equal(parameter[0], torch.ones(3))


@pytest.mark.parametrize("size", [1, 63, 64, 200])
@pytest.mark.parametrize("name", sorted(SLOTS))
def test_a_slot_moves_as_alone_wherever_it_is_and_however_large(name, size):
    drawn = torch.Generator().manual_seed(size)
    start, gradient = torch.randn(2, 3, size, generator=drawn)

    def moved(slots):
        parameter = nn.Parameter(start[slots].clone())
        group = ParameterGroup("main", (parameter,), torch.ones(len(slots)))
        optimizer = PackOptimizer([group], [SLOTS[name][p] for p in slots])
        for _ in range(3):
            parameter.grad = gradient[slots].clone()
            optimizer.step(torch.ones(len(slots), dtype=torch.bool), torch.full((len(slots),), 0.3))
        return [parameter.detach(), *optimizer.tensors().values()]

    packed = moved([0, 1, 2])
    for p in range(3):
        for alone, together in zip(moved([p]), packed, strict=True):
            assert torch.equal(alone[0], together[p])
        parameter = nn.Parameter(start[p].clone())
        oracle = torch_optimizer(SLOTS[name][p], [parameter], 1.0)
        for _ in range(3):
            parameter.grad = gradient[p] * 0.3
            oracle.step()
        torch.testing.assert_close(packed[0][p], parameter.detach(), rtol=1e-5, atol=1e-6)


def test_a_group_may_name_its_own_optimizer_and_go_without_decay():
    main, recurrent = nn.Parameter(torch.ones(1, 2)), nn.Parameter(torch.ones(1, 2))
    ratio = torch.ones(1)
    slots = [AdamSettings(learning_rate=0.5, weight_decay=0.3)]
    optimizer = PackOptimizer(
        [
            ParameterGroup("main", (main,), ratio),
            ParameterGroup("recurrent", (recurrent,), ratio * 0.1, decay=False, optimizer="sgd"),
        ],
        slots,
    )
    recurrent.grad = torch.tensor([[1.0, -2.0]])
    main.grad = torch.zeros(1, 2)
    optimizer.step(torch.ones(1, dtype=torch.bool), torch.ones(1))
    torch.testing.assert_close(recurrent.detach(), torch.tensor([[0.95, 1.1]]))
    assert (main < 1).all()  # its decay moved it


@pytest.mark.usefixtures("written_with")
def test_gradient_norm_is_each_slots_own_and_has_the_same_bits_alone_and_in_a_pack():
    generator = torch.Generator().manual_seed(1)
    parameters = [nn.Parameter(torch.zeros(4, 37, 5)), nn.Parameter(torch.zeros(4, 11))]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    norms = gradient_norms(parameters, 4)
    for p in range(4):
        alone = [nn.Parameter(torch.zeros_like(one[p : p + 1])) for one in parameters]
        for one, packed in zip(alone, parameters, strict=True):
            one.grad = packed.grad[p : p + 1].clone()
        assert torch.equal(gradient_norms(alone, 1)[0], norms[p])
        expected = torch.cat([one.grad.flatten() for one in alone]).double().norm()
        torch.testing.assert_close(norms[p], expected)


def test_every_optimizer_of_the_catalogue_is_tested_here():
    assert sorted(SLOTS) == OPTIMIZERS.names()
