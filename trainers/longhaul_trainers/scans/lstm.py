"""The LSTM scan, for packs.

Dimensions: T steps, P slots, B sequences in a batch, H hidden units. Gates in the order i, f, g, o.
Written out forward and backward, with buffers in the layout explained in `scans.elman`.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from longhaul_trainers.memory import reused_as
from longhaul_trainers.precision import Precision, factor
from longhaul_trainers.scans.inputs import weight_gradient
from longhaul_trainers.scans.native.library import call, serves
from longhaul_trainers.scans.recorded import parts, recordings


def lstm_scan(
    recurrent: Tensor,
    inputs: Tensor,
    initial: Tensor,
    initial_cell: Tensor,
    precision: Precision = "float32",
) -> tuple[Tensor, Tensor]:
    """Hidden states of all steps and the last cell state; differentiable once in every argument.

    Args:
        recurrent: U, shape (P, 4H, H).
        inputs: the input products of the four gates, biases included, shape (T, P, B, 4H).
        initial: h before the first step, shape (P, B, H).
        initial_cell: c before the first step, shape (P, B, H).
        precision: of the factors of all products with U.

    Returns:
        h of every step, shape (T, P, B, H), a view; and the last c, shape (P, B, H).
    """
    scanned: tuple[Tensor, Tensor] = _LSTMScan.apply(  # type: ignore[no-untyped-call]
        precision, recurrent, inputs, initial, initial_cell
    )
    return scanned


class _LSTMScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        precision: Precision,
        recurrent: Tensor,
        inputs: Tensor,
        initial: Tensor,
        initial_cell: Tensor,
    ) -> tuple[Tensor, Tensor]:
        ctx.precision = precision
        steps, pack, batch, _ = inputs.shape
        size = initial.shape[-1]
        leading = inputs.transpose(0, 1)
        hidden = reused_as(inputs, pack, steps + 1, batch, size)
        cells = reused_as(hidden)
        hidden[:, 0] = initial
        cells[:, 0] = initial_cell
        if precision == "float32" and serves(hidden):
            gates = reused_as(leading)
            given = (recurrent.contiguous(), leading.contiguous())
            call("lstm_forward", hidden, *given, gates, hidden, cells)
            ctx.save_for_backward(recurrent, gates, hidden, cells)
            return hidden[:, 1:].transpose(0, 1), cells[:, -1].clone()
        gates = reused_as(leading).copy_(leading)
        transposed = factor(recurrent, precision).mT.contiguous()
        recorded = recordings(hidden)
        for now, with_before in parts(steps, recorded):
            written = gates[:, now], hidden[:, with_before], cells[:, with_before]
            if recorded is None:
                _run(precision, transposed, *written)
            else:
                recorded.run(("lstm", precision), partial(_run, precision), (transposed,), written)
        ctx.save_for_backward(recurrent, gates, hidden, cells)
        return hidden[:, 1:].transpose(0, 1), cells[:, -1].clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, output_gradient: Tensor, last_cell_gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        recurrent, gates, hidden, cells = ctx.saved_tensors
        precision = ctx.precision
        by_outputs = output_gradient.transpose(0, 1)
        by_cell = last_cell_gradient.clone(memory_format=torch.contiguous_format)
        by_gates = reused_as(gates)
        if precision == "float32" and serves(hidden):
            by_initial = torch.empty_like(by_cell)
            given = (recurrent.contiguous(), gates, cells, by_outputs.contiguous())
            call("lstm_backward", hidden, *given, by_cell, by_gates, by_initial)
        else:
            by_hidden = reused_as(hidden).zero_()
            by_hidden[:, 1:] = by_outputs
            recorded = recordings(hidden)
            for now, with_before in reversed(parts(gates.shape[1], recorded)):
                read = recurrent, gates[:, now], cells[:, with_before]
                written = by_hidden[:, with_before], by_cell, by_gates[:, now]
                if recorded is None:
                    _pull_back(precision, *read, *written)
                else:
                    loop = partial(_pull_back, precision)
                    recorded.run(("lstm backward", precision), loop, read, written)
            by_initial = by_hidden[:, 0]
        return (
            None,
            weight_gradient(by_gates, hidden[:, :-1], precision),
            by_gates.transpose(0, 1),
            by_initial,
            by_cell,
        )


def _run(
    precision: Precision, transposed: Tensor, gates: Tensor, hidden: Tensor, cells: Tensor
) -> None:
    """Overwrites the gates' inputs by the gates, and the states but the first."""
    h, c = hidden.unbind(1), cells.unbind(1)
    both = gates[..., : 2 * hidden.shape[-1]].unbind(1)
    i, f, g, o = (gate.unbind(1) for gate in gates.chunk(4, -1))
    for step, gate in enumerate(gates.unbind(1)):
        gate.baddbmm_(factor(h[step], precision), transposed)
        both[step].sigmoid_()
        g[step].tanh_()
        o[step].sigmoid_()
        torch.mul(f[step], c[step], out=c[step + 1]).add_(i[step] * g[step])
        torch.tanh(c[step + 1], out=h[step + 1]).mul_(o[step])


def _pull_back(
    precision: Precision,
    recurrent: Tensor,
    gates: Tensor,
    cells: Tensor,
    by_hidden: Tensor,
    by_cell: Tensor,
    by_gates: Tensor,
) -> None:
    """Overwrites step 0 of ``by_hidden``, ``by_cell`` and ``by_gates`` as native/lstm.cpp does."""
    i, f, g, o = gates.chunk(4, -1)
    squashed = cells[:, 1:].tanh()
    # By which c's gradient (for i, f, g) and h's (for o) are multiplied to give the gates'.
    factors = reused_as(gates).view(*i.shape[:3], 4, i.shape[3])
    torch.mul(g * i, 1 - i, out=factors[..., 0, :])
    torch.mul(cells[:, :-1] * f, 1 - f, out=factors[..., 1, :])
    torch.mul(i, 1 - g * g, out=factors[..., 2, :])
    torch.mul(squashed * o, 1 - o, out=factors[..., 3, :])
    from_cell, from_hidden = factors[..., :3, :].unbind(1), factors[..., 3, :].unbind(1)
    into_cell = (o * (1 - squashed * squashed)).unbind(1)
    forget = f.unbind(1)
    matrix = factor(recurrent, precision)
    h = by_hidden.unbind(1)
    gate = by_gates.unbind(1)
    split = by_gates.view_as(factors)
    by_three, by_output = split[..., :3, :].unbind(1), split[..., 3, :].unbind(1)
    for step in range(len(gate) - 1, -1, -1):
        by_cell.add_(h[step + 1] * into_cell[step])
        torch.mul(by_cell.unsqueeze(2), from_cell[step], out=by_three[step])
        torch.mul(h[step + 1], from_hidden[step], out=by_output[step])
        by_cell.mul_(forget[step])
        h[step].baddbmm_(factor(gate[step], precision), matrix)
