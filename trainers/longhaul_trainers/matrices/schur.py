"""W = P (Lambda + T) P^T: a non-normal matrix in its real Schur form."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from longhaul_trainers.errors import SettingError
from longhaul_trainers.initialisation import uniform
from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings, recurrent_group
from longhaul_trainers.matrices.skew import SkewSettings, SkewSymmetric
from longhaul_trainers.matrices.skew_init import SkewInit
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.scans.native.library import run, serves
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import joined, slot_vector, stack_slots
from longhaul_trainers.threads import threads_for_scans


@dataclass(frozen=True, kw_only=True)
class SchurSettings(SkewSettings):
    """What cells with a real Schur form have; defaults as published for copying."""

    name: ClassVar[str] = "schur"
    learning_rate_ratio: float = setting(
        0.002, gt=0, help="learning rate of log P, as a multiple of the trial's"
    )
    skew_init: SkewInit = setting(
        "henaff", help="initial log P; the first W is Lambda, whatever this is, but for random"
    )
    gamma: Literal["learned", "fixed"] = setting(
        "learned",
        structural=True,
        help="moduli of the eigenvalues: learned from 1 on, or kept at 1",
    )
    delta: float = setting(1e-4, ge=0, help="factor of the penalty sum (1 - gamma)^2")
    triangular_decay: float = setting(
        1e-6, ge=0, help="weight decay of T alone, in place of training's; see the optimiser's"
    )
    triangular_mask: Literal["exact", "released"] = setting(
        "exact",
        structural=True,
        help="where T is: strictly below the 2x2 blocks, or below the diagonal as in the authors' "
        "program, inside the blocks too, so that gamma are not the moduli any more",
    )

    def check_even(self, hidden_size: int) -> None:
        """Refuses an odd size.

        Raises:
            SettingError: with the path ``hidden_size``.
        """
        if hidden_size % 2:
            reason = f"found {hidden_size}; the eigenvalues come in pairs"
            raise SettingError("hidden_size", f"expected an even number, {reason}")


@final
class SchurMatrix(RecurrentMatrix):
    """W = P (Lambda + T) P^T: P a rotation, Lambda 2x2 blocks on the diagonal, T below them.

    The i-th block is gamma_i times a rotation by theta_i, so the eigenvalues are
    gamma_i e^{±i theta_i}, and T, which no eigenvalue feels, lets one pair of modes drive the next.
    With T = 0 and gamma = 1, W is orthogonal. In a real Schur form a block may be skewed besides;
    ``triangular_mask: released`` allows that and so reaches every matrix whose eigenvalues are
    complex, but then gamma are not their moduli.

    theta starts uniform on (0, 2 pi), gamma at 1, T at 0 and P = exp(A), A skew-symmetric, as
    ``skew_init`` says. With ``henaff`` and ``cayley`` P is made of 2x2 rotations at the places of
    those of Lambda and commutes with it: the first W is Lambda, and its spectrum does not depend
    on ``skew_init``. Only ``random`` mixes the coordinates at the start.

    Three groups: log P (``recurrent``), T with a decay of its own, theta and gamma without any.
    """

    settings_type = SchurSettings
    formula = (
        "W = P (Lambda + T) P^T, P = exp(A), A = X - X^T, X strictly upper triangular, "
        "Lambda = diag(gamma_i [[cos theta_i, -sin theta_i], [sin theta_i, cos theta_i]]), "
        "T strictly lower block triangular"
    )
    reference = (
        "Kerg, Goyette, Puelma Touzel, Gidel, Vorontsov, Bengio, Lajoie, "
        '"Non-normal Recurrent Neural Network (nnRNN): learning long time dependencies while '
        'improving expressivity with transient dynamics", NeurIPS 2019, arXiv:1905.12080'
    )
    delta: Tensor
    block_positions: Tensor
    triangle_positions: Tensor

    def __init__(
        self,
        hidden_size: int,
        slots: Sequence[SchurSettings],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(hidden_size, slots, generators)
        self.settings = tuple(slots)
        slots[0].check_even(hidden_size)
        self.skew = SkewSymmetric(hidden_size, slots, generators)

        def draw(_: SchurSettings, generator: torch.Generator) -> Tensor:
            # 6.28, as the authors wrote 2 pi
            return uniform(0, 6.28, hidden_size // 2, generator=generator)

        self.theta = stack_slots(slots, generators, draw)
        self.gamma = None
        if slots[0].gamma == "learned":
            self.gamma = nn.Parameter(torch.ones(len(slots), hidden_size // 2))
        rows, columns = torch.tril_indices(hidden_size, hidden_size, offset=-1)
        if slots[0].triangular_mask == "exact":
            outside = rows // 2 > columns // 2
            rows, columns = rows[outside], columns[outside]
        self.triangle = nn.Parameter(torch.zeros(len(slots), len(rows)))
        self.register_buffer("delta", slot_vector(slots, lambda slot: slot.delta))
        # Derived from the structure alone: no part of a checkpoint.
        self.register_buffer("triangle_positions", rows * hidden_size + columns, persistent=False)
        first = torch.arange(0, hidden_size, 2) * (hidden_size + 1)
        blocks = torch.stack([first, first + 1, first + hidden_size, first + hidden_size + 1])
        self.register_buffer("block_positions", blocks.flatten(), persistent=False)

    @classmethod
    def parameter_count(cls, hidden_size: int, settings: RecurrentSettings) -> int:
        if not isinstance(settings, SchurSettings):
            raise TypeError(f"expected settings of a Schur form, found {settings!r}")
        settings.check_even(hidden_size)
        half = hidden_size // 2
        skew = triangle = hidden_size * (hidden_size - 1) // 2
        if settings.triangular_mask == "exact":
            triangle -= half
        return skew + triangle + half * (2 if settings.gamma == "learned" else 1)

    def matrix(self) -> Tensor:
        P = self.skew.exponential()
        if self.theta.dtype == torch.float32 and serves(self.theta):
            below_blocks = self.settings[0].triangular_mask == "exact"
            compiled: Tensor = _CompiledSchur.apply(  # type: ignore[no-untyped-call]
                below_blocks, P, self.theta, self.gamma, self.triangle
            )
            return compiled
        # One slot at a time: products and angles of several slots at once may round otherwise.
        gammas = [None] * len(self.slots) if self.gamma is None else self.gamma.unbind()
        slots = zip(P, self.theta, gammas, self.triangle, strict=True)
        return joined([self._slot(*slot) for slot in slots])

    def _slot(self, P: Tensor, theta: Tensor, gamma: Tensor | None, triangle: Tensor) -> Tensor:
        cos, sin = theta.cos(), theta.sin()
        if gamma is not None:
            cos, sin = gamma * cos, gamma * sin
        size = self.hidden_size
        zeros = theta.new_zeros(size * size)
        blocks = zeros.index_copy(0, self.block_positions, torch.cat([cos, -sin, sin, cos]))
        below = zeros.index_copy(0, self.triangle_positions, triangle)
        return P @ ((blocks + below).view(size, size) @ P.mT)

    def parameter_groups(self) -> list[ParameterGroup]:
        """``recurrent`` is log P; T and the eigenvalues learn at the trial's own rate."""
        ratio = torch.ones(len(self.slots))
        decay = slot_vector(self.settings, lambda slot: slot.triangular_decay)
        eigenvalues = (self.theta,) if self.gamma is None else (self.theta, self.gamma)
        return [
            recurrent_group(self.slots, [self.skew.upper], decay=False),
            ParameterGroup("triangular", (self.triangle,), ratio, weight_decay=decay),
            ParameterGroup("eigenvalues", eigenvalues, ratio, decay=False),
        ]

    def penalty(self) -> Tensor | None:
        """The term delta sum (1 - gamma)^2; none where gamma is fixed."""
        if self.gamma is None:
            return None
        sums = [(1 - gamma).square().sum() for gamma in self.gamma]
        return self.delta * joined(sums)


class _CompiledSchur(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        below_blocks: bool,
        P: Tensor,
        theta: Tensor,
        gamma: Tensor | None,
        triangle: Tensor,
    ) -> Tensor:
        pack, size, _ = P.shape
        ctx.sizes = (pack, size, threads_for_scans(), below_blocks)
        tape = P.new_empty(pack, run("schur_tape", size))
        result = torch.empty_like(P)
        run("schur_forward", *ctx.sizes, theta, gamma, triangle, tape, P, result)
        ctx.save_for_backward(theta, gamma, triangle, tape)
        return result

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        theta, gamma, triangle, tape = ctx.saved_tensors
        given = gradient.contiguous()
        by_P, by_theta, by_triangle = map(torch.empty_like, (given, theta, triangle))
        by_gamma = None if gamma is None else torch.empty_like(gamma)
        told = (theta, gamma, triangle, tape, given)
        run("schur_backward", *ctx.sizes, *told, by_P, by_theta, by_gamma, by_triangle)
        return None, by_P, by_theta, by_gamma, by_triangle
