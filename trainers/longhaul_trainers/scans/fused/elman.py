"""The fused Elman scan for CUDA devices, plain and leaky."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from longhaul_trainers.nonlinearities import Nonlinearity
from longhaul_trainers.precision import Precision
from longhaul_trainers.scans.fused.library import serves

WIDEST = 256
"""Hidden units up to which W stays in a multiprocessor's caches; beyond, matrix products win."""
WIDEST_ROUNDED_PAIR = 128
"""The same for W and A together in the registers of one program, in bfloat16."""
ROUNDED_ROWS = 16
"""Rows of a tensor core's tile."""
FEW_ROWS, MANY_ROWS = 4, 32
"""Rows of a program in float32: few make a step short, many read W less often. The bits of a row
are the same; many once every multiprocessor has such a program."""
UNROLLED = 16
"""Terms of a sum W h whose factors are loaded ahead."""


@dataclass(frozen=True)
class Leak:
    """The rest of h' = a h + A h + g phi(W h + z).

    Attributes:
        gain: g, shape (P,).
        keep: a, shape (P,); None: 1.
        linear: A, shape (P, H, H); None: 0.
    """

    gain: Tensor
    keep: Tensor | None
    linear: Tensor | None


@dataclass(frozen=True)
class FusedElman:
    """The scan for one nonlinearity; all tensors on one device, contiguous, of one type.

    Attributes:
        code: which function phi is, as `Nonlinearity.compiled` numbers them.
        parameter: phi's parameter of each unit, shape (P, H).
        precision: of the factors of all products with W and A.
        leak: None for the plain scan.
    """

    code: int
    parameter: Tensor
    precision: Precision = "float32"
    leak: Leak | None = None

    def forward(
        self, recurrent: Tensor, inputs: Tensor, states: Tensor, activations: Tensor | None = None
    ) -> None:
        """Fills ``states`` (P, T + 1, B, H), whose step 0 is given, from inputs (P, T, B, H).

        With a leak also ``activations``, phi of every step, laid out as the states.
        """
        from longhaul_trainers.scans.fused import elman_kernels

        linear = None if self.leak is None else self.leak.linear
        matrices = recurrent.mT.contiguous(), None if linear is None else linear.mT.contiguous()
        others = inputs, states if activations is None else activations, states
        self._launch(elman_kernels.forward, matrices, others)

    def backward(
        self,
        recurrent: Tensor,
        outputs: Tensor,
        by_states: Tensor,
        by_inputs: Tensor | None = None,
    ) -> None:
        """Turns the loss's gradients by the states, 0 at step 0, into those by z, in place.

        Step 0 becomes the gradient by the state before the first step. With a leak ``by_states``
        become the gradients by the states with all paths, and ``by_inputs`` those by z.

        Args:
            recurrent: W, shape (P, H, H).
            outputs: phi of every step, shape (P, T + 1, B, H).
            by_states: of the same shape.
            by_inputs: of the same shape, with a leak.
        """
        from longhaul_trainers.scans.fused import elman_kernels

        linear = None if self.leak is None else self.leak.linear
        matrices = recurrent.contiguous(), None if linear is None else linear.contiguous()
        others = outputs, by_states if by_inputs is None else by_inputs, by_states
        self._launch(elman_kernels.backward, matrices, others)

    def _launch(
        self, kernel: Any, matrices: tuple[Tensor, Tensor | None], others: tuple[Tensor, ...]
    ) -> None:
        matrix, linear = matrices
        pack, steps, batch, size = others[-1].shape
        if not all(one.is_contiguous() for one in others):
            raise ValueError("the fused scan takes contiguous tensors")
        leak, keep = self.leak, None if self.leak is None else self.leak.keep
        columns, rows, warps = self._tile(pack, batch, size, others[-1])
        kernel[pack, -(-batch // rows)](
            matrix,
            # what a variant of the kernel does not read may be anything
            matrix if linear is None else linear,
            self.parameter,
            matrix if leak is None else leak.gain.contiguous(),
            matrix if keep is None else keep.contiguous(),
            *others,
            steps - 1,
            batch,
            H=size,
            N=columns,
            ROWS=rows,
            K=min(UNROLLED, 1 << (size - 1).bit_length()),
            PHI=self.code,
            LEAKY=leak is not None,
            KEEP=keep is not None,
            LINEAR=linear is not None,
            BF16=self.precision == "bfloat16",
            num_warps=warps,
            num_stages=1,
        )

    def _tile(self, pack: int, batch: int, size: int, tensor: Tensor) -> tuple[int, int, int]:
        """Padded H, rows and warps of a program."""
        columns = max(16, 1 << (size - 1).bit_length())
        if self.precision == "bfloat16":
            return columns, ROUNDED_ROWS, max(2, columns // 16)
        # Twice as many threads as columns, or one warp: with others Triton loads a row of W in
        # another layout than it uses it in, and exchanges it through shared memory.
        if pack * batch < MANY_ROWS * _multiprocessors(tensor):
            return columns, FEW_ROWS, 1
        return columns, MANY_ROWS, columns // 16


def _multiprocessors(tensor: Tensor) -> int:
    return _count(tensor.device.index or 0) if tensor.is_cuda else 1


@cache
def _count(device: int) -> int:
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count


def fused_elman(
    phi: Nonlinearity, states: Tensor, precision: Precision, leak: Leak | None = None
) -> FusedElman | None:
    """The fused scan for this nonlinearity, where there is one.

    Args:
        phi: the nonlinearity.
        states: shape (P, T + 1, B, H); tells device, type and sizes.
        precision: of the factors of all products with W and A.
        leak: None for the plain scan.
    """
    size = states.shape[-1]
    pair = leak is not None and leak.linear is not None
    widest = WIDEST_ROUNDED_PAIR if precision == "bfloat16" and pair else WIDEST
    if size > widest or not serves(states):
        return None
    found = phi.compiled_for(states)
    return None if found is None else FusedElman(*found, precision, leak)
