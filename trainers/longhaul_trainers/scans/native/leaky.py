"""The compiled leaky scan."""

from dataclasses import dataclass

from torch import Tensor

from longhaul_trainers.nonlinearities import Nonlinearity
from longhaul_trainers.precision import Precision
from longhaul_trainers.scans.fused.elman import Leak
from longhaul_trainers.scans.native.library import call, serves


@dataclass(frozen=True)
class LeakyGradients:
    """Where the backward scan puts the gradients; None for those that nobody wants.

    Attributes:
        inputs: by the preactivations z, shape (P, T, B, H).
        initial: by the state before the first step, shape (P, B, H).
        recurrent: by W, shape (P, H, H).
        gain: by g, shape (P,).
        keep: by a, shape (P,).
        linear: by A, shape (P, H, H); only where there is an A.
    """

    inputs: Tensor
    initial: Tensor
    recurrent: Tensor | None = None
    gain: Tensor | None = None
    keep: Tensor | None = None
    linear: Tensor | None = None


@dataclass(frozen=True)
class CompiledLeaky:
    """The scan for one nonlinearity; all tensors on the CPU, contiguous, of one type.

    Attributes:
        code: which function phi is, as phi.hpp counts them.
        parameter: phi's parameter of each unit, shape (P, H).
        leak: the rest of the recurrence.
    """

    code: int
    parameter: Tensor
    leak: Leak

    def forward(
        self, recurrent: Tensor, inputs: Tensor, states: Tensor, activations: Tensor
    ) -> None:
        """Fills ``states`` (P, T + 1, B, H), whose step 0 is given, from inputs (P, T, B, H).

        Args:
            recurrent: W, shape (P, H, H).
            inputs: z.
            states: of all steps.
            activations: filled with phi of every step, laid out as the states, step 0 left alone.
        """
        call("leaky_forward", states, *self._arguments(recurrent), inputs, states, activations)

    def backward(
        self,
        recurrent: Tensor,
        states: Tensor,
        activations: Tensor,
        by_outputs: Tensor,
        wanted: LeakyGradients,
    ) -> None:
        """Fills the gradients.

        Args:
            recurrent: W, shape (P, H, H).
            states: as `forward` left them.
            activations: likewise.
            by_outputs: the loss's gradients by h of each step, shape (P, T, B, H).
            wanted: the gradients, whatever they hold.
        """
        gradients = (
            wanted.recurrent,
            wanted.linear,
            wanted.gain,
            wanted.keep,
            wanted.inputs,
            wanted.initial,
        )
        given = (states, activations, by_outputs)
        call("leaky_backward", states, *self._arguments(recurrent), *given, *gradients)

    def _arguments(self, recurrent: Tensor) -> tuple[Tensor | int | None, ...]:
        leak = self.leak
        return self.code, self.parameter, recurrent, leak.gain, leak.keep, leak.linear


def compiled_leaky(
    phi: Nonlinearity, states: Tensor, precision: Precision, leak: Leak
) -> CompiledLeaky | None:
    """The compiled scan for this nonlinearity and precision, where there is one.

    Args:
        phi: the nonlinearity.
        states: shape (P, T + 1, B, H); tells device, type and sizes.
        precision: of the factors of the products.
        leak: the rest of the recurrence.
    """
    if precision != "float32" or not serves(states):
        return None
    found = phi.compiled_for(states)
    if found is None:
        return None
    rest = [
        None if one is None else one.to(states.dtype).contiguous()
        for one in (leak.keep, leak.linear)
    ]
    return CompiledLeaky(*found, Leak(leak.gain.to(states.dtype).contiguous(), *rest))
