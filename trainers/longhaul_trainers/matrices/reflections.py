"""Products of Householder reflections as parameters.

Those in float32 on a CPU are compiled, with their gradients; all others are written with torch.

Dimensions: P slots, H rows of the matrix, m reflections.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from longhaul_trainers.scans.native.library import run, serves
from longhaul_trainers.slots import joined, stack_slots
from longhaul_trainers.threads import threads_for_scans

S = TypeVar("S")


def reflection_product(vectors: Tensor) -> Tensor:
    """H(u_1) H(u_2) ... H(u_m) with H(u) = I - 2 u u^T / |u|^2, in compact WY form.

    I - U T^-1 U^T with T = striu(U^T U) + diag(U^T U) / 2 and the vectors as columns of U: two
    products and one triangular solve, whatever m. It needs no unit vectors; a zero vector stands
    for no reflection, H = I.

    Args:
        vectors: u_1, ..., u_m as rows, shape (m, H). One matrix.

    Returns:
        Shape (H, H).

    Reference: Mhammedi et al., arXiv:1612.00188, equations 16 and 17; Joffrain et al.,
    "Accumulating Householder Transformations, Revisited", ACM TOMS 32(2), 2006.
    """
    gram = vectors @ vectors.mT
    squares = gram.diagonal()
    halves = torch.where(squares == 0, torch.ones_like(squares), squares / 2)
    T = gram.triu(1) + torch.diag(halves)
    identity = torch.eye(vectors.shape[1], dtype=vectors.dtype, device=vectors.device)
    product: Tensor = vectors.mT @ torch.linalg.solve_triangular(T, vectors, upper=True)
    return identity - product


@final
class Reflections(nn.Module):
    """H_H(u_H) H_{H-1}(u_{H-1}) ... of every slot, m factors.

    H_k(u), u of k entries, reflects the last k coordinates along u, for k = 1 it multiplies the
    last coordinate by u, which is 1 or -1. Only the entries of the u exist, one u after the other:
    m H - m (m - 1) / 2 numbers.

    Args:
        hidden_size: H.
        count: m, between 1 and H.
        slots: the settings of each of the P slots.
        generators: one a slot.
        draw: one slot's vectors as rows (m, H); their entries before the diagonal are ignored.
    """

    positions: Tensor
    owners: Tensor
    leading: Tensor

    def __init__(
        self,
        hidden_size: int,
        count: int,
        slots: Sequence[S],
        generators: Sequence[torch.Generator],
        draw: Callable[[S, torch.Generator], Tensor],
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.count = count
        rows, columns = torch.triu_indices(count, hidden_size)
        self.entries = stack_slots(
            slots, generators, lambda slot, drawn: draw(slot, drawn)[rows, columns]
        )
        # Derived from the sizes alone: no part of a checkpoint.
        self.register_buffer("positions", rows * hidden_size + columns, persistent=False)
        self.register_buffer("owners", rows, persistent=False)
        self.register_buffer("leading", (rows == columns).nonzero().squeeze(1), persistent=False)

    @staticmethod
    def parameter_count(hidden_size: int, count: int) -> int:
        """The number of entries, m H - m (m - 1) / 2."""
        return count * hidden_size - count * (count - 1) // 2

    def vectors(self) -> Tensor:
        """The u as rows with leading zeros, that of H entries first, shape (P, m, H)."""
        pack = self.entries.shape[0]
        flat = self.entries.new_zeros(pack, self.count * self.hidden_size)
        filled = flat.index_copy(1, self.positions, self.entries)
        return filled.view(pack, self.count, self.hidden_size)

    def forward(self) -> Tensor:
        """The products, shape (P, H, H), one slot at a time."""
        if self._compiled():
            compiled: Tensor = _CompiledProducts.apply(  # type: ignore[no-untyped-call]
                self.entries, self.hidden_size, self.count
            )
            return compiled
        return joined([self._product(one) for one in self.vectors()])

    def _compiled(self) -> bool:
        one = self.entries
        return one.dtype == torch.float32 and one.is_contiguous() and serves(one)

    def _product(self, vectors: Tensor) -> Tensor:
        if self.count < self.hidden_size:
            return reflection_product(vectors)
        signs = torch.cat([vectors.new_ones(self.hidden_size - 1), vectors[-1, -1:]])
        return reflection_product(vectors[:-1]) * signs

    @torch.no_grad()
    def normalise(self) -> None:
        """Makes all u unit vectors again; a zero one becomes (1, 0, ...), one with NaN stays so."""
        if self._compiled():
            sizes = (len(self.entries), self.hidden_size, threads_for_scans(), self.count)
            run("reflections_normalise", *sizes, self.entries)
            return
        for entries, vectors in zip(self.entries, self.vectors(), strict=True):
            norms = torch.linalg.vector_norm(vectors, dim=1)
            entries.div_(torch.where(norms == 0, torch.ones_like(norms), norms)[self.owners])
            first = entries[self.leading]
            entries[self.leading] = torch.where(norms == 0, torch.ones_like(first), first)

    @torch.no_grad()
    def normalise_sign(self) -> None:
        """Makes u of one entry, where there is one, 1 or -1 again; NaN stays so."""
        if self.count == self.hidden_size:
            last = self.entries[:, -1]
            last.copy_(torch.where(last == 0, torch.ones_like(last), last / last.abs()))


class _CompiledProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, entries: Tensor, size: int, count: int) -> Tensor:
        tape = entries.new_empty(len(entries), run("reflections_tape", size, count))
        result = entries.new_empty(len(entries), size, size)
        ctx.sizes = (len(entries), size, threads_for_scans(), count)
        run("reflections_forward", *ctx.sizes, entries, tape, result)
        ctx.save_for_backward(entries, tape)
        return result

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        entries, tape = ctx.saved_tensors
        by_entries = torch.empty_like(entries)
        given = gradient.contiguous()
        run("reflections_backward", *ctx.sizes, entries, tape, given, by_entries)
        return by_entries, None, None
