"""What stands between the recurrent layers of a stack: normalisations and gates.

Dimensions: T steps, P slots, B sequences in a batch, D features.
"""

import math
from collections.abc import Sequence
from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from longhaul_trainers.initialisation import uniform
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.scans.slotwise import slotwise
from longhaul_trainers.slots import stack_slots


def linear(
    inputs: int, outputs: int, generators: Sequence[torch.Generator]
) -> tuple[nn.Parameter, nn.Parameter]:
    """Weights (P, outputs, inputs), uniform on ±1 / sqrt(inputs), and biases (P, outputs) at 0."""
    bound = 1 / math.sqrt(inputs)

    def draw(_: None, generator: torch.Generator) -> Tensor:
        return uniform(-bound, bound, outputs, inputs, generator=generator)

    weights = stack_slots([None] * len(generators), generators, draw)
    return weights, nn.Parameter(torch.zeros(len(generators), outputs))


def linear_count(inputs: int, outputs: int) -> int:
    """Number of parameters of `linear` in one slot."""
    return outputs * (inputs + 1)


@final
class Norm(nn.Module):
    """Layer or batch normalisation of P slots, with trained scales and shifts (P, D).

    ``layer``: over the features of each step of each sequence. ``batch``: over all steps and
    sequences, feature by feature; in evaluation by running means of the training's statistics.

    References: Ba, Kiros, Hinton, "Layer Normalization", arXiv:1607.06450; Ioffe and Szegedy,
    "Batch Normalization", ICML 2015, arXiv:1502.03167.
    """

    epsilon = 1e-5
    momentum = 0.1
    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, kind: Literal["layer", "batch"], size: int, pack: int) -> None:
        super().__init__()
        self.kind = kind
        self.scale = nn.Parameter(torch.ones(pack, size))
        self.shift = nn.Parameter(torch.zeros(pack, size))
        if kind == "batch":
            self.register_buffer("running_mean", torch.zeros(pack, size))
            self.register_buffer("running_variance", torch.ones(pack, size))

    @classmethod
    def parameter_count(cls, size: int) -> int:
        """Number of trainable parameters of one slot."""
        return 2 * size

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalised inputs (T, P, B, D)."""
        slots = inputs.transpose(0, 1)
        if self.kind == "layer":
            (normalised,) = slotwise(self._by_layer, (slots, self.scale, self.shift))
        elif self.training:
            normalised, mean, variance = slotwise(self._by_batch, (slots, self.scale, self.shift))
            self._remember(mean, variance, inputs.shape[0] * inputs.shape[2])
        else:
            given = (slots, self.scale, self.shift, self.running_mean, self.running_variance)
            (normalised,) = slotwise(self._by_running, given)
        return normalised.transpose(0, 1)

    def _by_layer(self, inputs: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor]:
        normalised = functional.layer_norm(inputs, inputs.shape[-1:], eps=self.epsilon)
        return (normalised * scale[:, None, None] + shift[:, None, None],)

    def _by_batch(
        self, inputs: Tensor, scale: Tensor, shift: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean = inputs.mean((1, 2))
        variance = (inputs - mean[:, None, None]).square().mean((1, 2))
        (normalised,) = self._by_running(inputs, scale, shift, mean, variance)
        return normalised, mean, variance

    def _by_running(
        self, inputs: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor
    ) -> tuple[Tensor]:
        factor = scale / (variance + self.epsilon).sqrt()
        return ((inputs - mean[:, None, None]) * factor[:, None, None] + shift[:, None, None],)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        unbiased = variance * (count / max(count - 1, 1))
        for running, new in ((self.running_mean, mean), (self.running_variance, unbiased)):
            running.copy_(running * (1 - self.momentum) + new * self.momentum)


@final
class Gate(nn.Module):
    """The gated linear unit (W1 y + b1) * sigmoid(W2 y + b2), of gelu(y) if wanted.

    The GELU is the one with tanh, as in JAX, in which the blocks of linear recurrences are
    published. W1 is drawn before W2, all entries uniform on ±1 / sqrt(D).

    Reference: Dauphin et al., "Language Modeling with Gated Convolutional Networks", ICML 2017,
    arXiv:1612.08083.
    """

    def __init__(self, size: int, gelu: bool, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.gelu = gelu
        self.weight, self.bias = linear(size, 2 * size, generators)

    @classmethod
    def parameter_count(cls, size: int) -> int:
        """Number of trainable parameters of one slot."""
        return linear_count(size, 2 * size)

    def forward(self, inputs: Tensor) -> Tensor:
        """Gated inputs (T, P, B, D)."""
        if self.gelu:
            (inputs,) = slotwise(_gelu, (inputs.transpose(0, 1),))
            inputs = inputs.transpose(0, 1)
        products = hoisted_input_product(inputs, self.weight, self.bias)
        (gated,) = slotwise(_glu, (products.transpose(0, 1),))
        return gated.transpose(0, 1)


def _gelu(inputs: Tensor) -> tuple[Tensor]:
    return (functional.gelu(inputs, approximate="tanh"),)


def _glu(products: Tensor) -> tuple[Tensor]:
    values, gates = products.chunk(2, -1)
    return (values * gates.sigmoid(),)
