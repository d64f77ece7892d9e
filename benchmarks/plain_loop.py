"""The program that a researcher writes: what the compiled scans and packs are compared with.

An orthogonal RNN by `torch.matrix_exp` of a skew-symmetric matrix, a Python loop over the steps,
autograd through everything, one optimiser of `torch.optim`; and torch's own layers as they come.
Nothing here is of ours.

Dimensions: T steps, B sequences in a batch, I inputs, H hidden units, O classes.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class PlainLoop(nn.Module):
    """h' = tanh(W h + V x) with W = exp(X - X^T), and a linear readout of every step.

    Args:
        input_size: I.
        hidden_size: H.
        output_size: O.
    """

    def __init__(self, input_size: int, hidden_size: int, output_size: int) -> None:
        super().__init__()
        upper = torch.triu(torch.randn(hidden_size, hidden_size), 1) / math.sqrt(hidden_size)
        self.skew = nn.Parameter(upper)
        self.input = nn.Linear(input_size, hidden_size, bias=False)
        self.readout = nn.Linear(hidden_size, output_size)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (T, B, O) for inputs (T, B, I)."""
        upper = self.skew.triu(1)
        recurrent = torch.matrix_exp(upper - upper.mT)
        products = self.input(inputs)
        hidden = inputs.new_zeros(inputs.shape[1], recurrent.shape[0])
        states = []
        for product in products:
            hidden = torch.tanh(torch.addmm(product, hidden, recurrent.mT))
            states.append(hidden)
        logits: Tensor = self.readout(torch.stack(states))
        return logits


class TorchLayer(nn.Module):
    """One of torch's recurrent layers with a linear readout of every step.

    Args:
        kind: `torch.nn.RNN`, `torch.nn.LSTM` or `torch.nn.GRU`.
        input_size: I.
        hidden_size: H.
        output_size: O.
    """

    def __init__(
        self,
        kind: type[nn.RNN | nn.LSTM | nn.GRU],
        input_size: int,
        hidden_size: int,
        output_size: int,
    ) -> None:
        super().__init__()
        self.layer = kind(input_size, hidden_size)
        self.readout = nn.Linear(hidden_size, output_size)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (T, B, O) for inputs (T, B, I)."""
        logits: Tensor = self.readout(self.layer(inputs)[0])
        return logits


def train_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor
) -> Tensor:
    """One training iteration.

    Args:
        model: makes logits (T, B, O) of inputs.
        optimizer: of its parameters.
        inputs: shape (T, B, I).
        targets: classes, shape (T, B).

    Returns:
        The loss before the step, a scalar without gradient.
    """
    optimizer.zero_grad()
    loss = cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
    loss.backward()
    optimizer.step()
    return loss.detach()
