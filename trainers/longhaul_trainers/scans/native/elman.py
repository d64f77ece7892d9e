"""Calls the compiled Elman scan."""

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

from longhaul_trainers.nonlinearities import Nonlinearity
from longhaul_trainers.scans.native.library import library

_TYPES = {torch.float32: "float32", torch.float64: "float64"}


@dataclass(frozen=True)
class CompiledElman:
    """The scan for one nonlinearity; all tensors on the CPU, contiguous, of one type.

    Attributes:
        code: which function phi is, as elman.cpp counts them.
        parameter: phi's parameter of each unit, shape (P, H).
        library: the compiled scans.
    """

    code: int
    parameter: Tensor
    library: ctypes.CDLL

    def forward(self, recurrent: Tensor, inputs: Tensor, states: Tensor) -> None:
        """Fills ``states`` (P, T + 1, B, H), whose step 0 is given, from inputs (P, T, B, H)."""
        self._call("forward", states, recurrent, inputs, states)

    def backward(self, recurrent: Tensor, states: Tensor, gradients: Tensor) -> None:
        """Turns the loss's gradients by the states, 0 at step 0, into those by z.

        Step 0 becomes the gradient by the state before the first step.
        """
        self._call("backward", states, recurrent, states, gradients)

    def _call(self, direction: str, states: Tensor, *tensors: Tensor) -> None:
        pack, steps, batch, size = states.shape
        function = getattr(self.library, f"elman_{direction}_{_TYPES[states.dtype]}")
        numbers = [ctypes.c_int64(one) for one in (pack, steps - 1, batch, size)]
        addresses = [ctypes.c_void_p(one.data_ptr()) for one in (self.parameter, *tensors)]
        threads = ctypes.c_int64(torch.get_num_threads())
        function(*numbers, ctypes.c_int(self.code), threads, *addresses)


def compiled_elman(phi: Nonlinearity, states: Tensor) -> CompiledElman | None:
    """The compiled scan for this nonlinearity, where there is one.

    Args:
        phi: the nonlinearity.
        states: shape (P, T + 1, B, H); tells device, type and sizes.
    """
    if states.device.type != "cpu" or states.dtype not in _TYPES:
        return None
    found = phi.compiled(states.shape[-1])
    loaded = library() if found is not None else None
    if found is None or loaded is None:
        return None
    code, parameter = found
    contiguous = parameter.detach().to(states.dtype).expand(states.shape[0], -1).contiguous()
    return CompiledElman(code, contiguous, loaded)
