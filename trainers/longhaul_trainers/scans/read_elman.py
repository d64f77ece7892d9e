"""The Elman scan with input product and linear readout: h' = phi(W h + V x + b), y = h K + k.

Dimensions: T steps, P slots, B sequences in a batch, I inputs, H hidden units, O classes.

Where the compiled scan is used, every state is read while it is in cache, and on the way back the
gradients by the states are made, and used up, a step at a time: neither they nor what makes them
is ever stored for all steps, only the states themselves. Where the last state alone is read, its
gradient is all that comes from outside.
"""

from torch import Tensor

from longhaul_trainers.nonlinearities import Nonlinearity
from longhaul_trainers.precision import Precision
from longhaul_trainers.readout import Readout
from longhaul_trainers.scans.driven_elman import DrivenElmanScan, driven_elman_scan
from longhaul_trainers.scans.native.elman import compiled_elman


def read_elman_scan(
    recurrent: Tensor,
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial: Tensor,
    phi: Nonlinearity,
    readout: Readout,
    precision: Precision = "float32",
) -> tuple[Tensor, Tensor]:
    """What is read of the hidden states; differentiable once in every tensor and parameter.

    Args:
        recurrent: W, shape (P, H, H), for column vectors h.
        inputs: x, shape (T, P, B, I).
        weight: V, shape (P, H, I).
        bias: b, shape (P, H), or None.
        initial: the state before the first step, shape (P, B, H).
        phi: the nonlinearity.
        readout: K and k, and whether every step is read.
        precision: of the factors of all products with W.

    Returns:
        The readouts (P, S, B, O) of the S steps that are read, and the last state (P, B, H).
    """
    driven = (recurrent, inputs, weight, bias, initial)
    if inputs.requires_grad or compiled_elman(phi, initial, precision) is None:
        hidden = driven_elman_scan(*driven, phi, precision)
        return readout(hidden), hidden[-1]
    parameters = tuple(phi.parameters())
    if readout.last_only:
        _, _, last = DrivenElmanScan.apply(phi, *driven, None, None, *parameters)  # type: ignore[no-untyped-call]
        return readout(last.unsqueeze(0)), last
    _, outputs, last = DrivenElmanScan.apply(  # type: ignore[no-untyped-call]
        phi, *driven, readout.weight, readout.bias, *parameters
    )
    return outputs, last
