"""Optimisers that keep matrices orthogonal or unitary.

They step parameters of shape (P, n, n), one real matrix a slot, or (P, 2, n, n), the real and the
imaginary part of a complex one. G, the gradient, is that of the loss by these numbers, so a complex
G is dL/dRe + i dL/dIm. ``^*`` is the conjugate transpose.

Each step is computed in float64, whatever the parameter's precision, and ends with one
Newton-Schulz iteration W (3 I - W^* W) / 2, which squares what is left of the deviation from
orthogonality. So W is always as orthogonal as its rounding to the parameter's own precision leaves
it, and no rounding adds up over the steps: in float32 |W^* W - I| stays near sqrt(n) 6e-8. Small
compiled steps take what they add to W in float32, but the deviation in float64 too.

Weight decay has no effect here. The gradient of |W|^2 is a multiple of W, which points straight out
of the manifold and has no part along it.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.scans.native.library import run, serves
from longhaul_trainers.settings import setting
from longhaul_trainers.slots import joined
from longhaul_trainers.threads import threads_for_scans
from longhaul_trainers.training.optimizers import Optimizer, OptimizerSettings


@dataclass(frozen=True, kw_only=True)
class ManifoldSettings(OptimizerSettings):
    """What happens to the gradient before the step along the manifold."""

    preconditioner: Literal["none", "rmsprop"] = setting(
        "none",
        structural=True,
        help="rmsprop: divide the gradient by the root of its square's mean",
    )
    alpha: float = setting(0.9, ge=0, lt=1, help="rmsprop: smoothing of the squared gradient")
    eps: float = setting(1e-8, gt=0, help="rmsprop: added to the root of the squared gradient")


class ManifoldOptimizer(Optimizer):
    """A step along the orthogonal or unitary matrices, one slot at a time on a CPU.

    The preconditioner divides entry by entry (real and imaginary parts apart), as RMSprop does.
    What it makes of a gradient is another direction, and no longer sure to point downhill.
    """

    def __init__(self, group: ParameterGroup, slots: Sequence[OptimizerSettings]) -> None:
        super().__init__(group, slots)
        if not isinstance(slots[0], ManifoldSettings):
            raise TypeError(f"expected settings of a manifold optimizer, found {slots[0]!r}")
        self._preconditioned = slots[0].preconditioner == "rmsprop"

    @classmethod
    def buffers_for(cls, settings: OptimizerSettings) -> tuple[str, ...]:
        """The smoothed square, where there is a preconditioner."""
        wanted = isinstance(settings, ManifoldSettings) and settings.preconditioner == "rmsprop"
        return ("square",) if wanted else ()

    def updated(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor]) -> Tensor:
        """See `Optimizer.updated`."""
        if self._preconditioned:
            alpha = self.vector("alpha", parameter)
            square = state["square"].mul_(alpha).add_((1 - alpha) * gradient.square())
            gradient = gradient / (square.sqrt() + self.vector("eps", parameter))
        rate = self._vectors["learning_rate"].double()
        if parameter.device.type != "cpu":
            return self._step(parameter, gradient, rate)
        # A trial's bits must not depend on how a batched solver treats its neighbours.
        quick = self.quick_steps(parameter, gradient, rate)
        slots = zip(quick, parameter, gradient, rate, strict=True)
        return joined([self._step(W, G, eta) if one is None else one for one, W, G, eta in slots])

    def quick_steps(
        self, parameter: Tensor, gradient: Tensor, rate: Tensor
    ) -> Sequence[Tensor | None]:
        """Each slot's matrix after a step, None where it takes `moved`; all do unless overridden.

        Args:
            parameter: on the CPU, as are the others.
            gradient: what is descended along.
            rate: the learning rates, shape (P,), float64.
        """
        return [None] * len(parameter)

    def _step(self, parameter: Tensor, gradient: Tensor, rate: Tensor) -> Tensor:
        """The matrices (..., n, n) or (..., 2, n, n) after a step, for rates (...)."""
        pair = parameter.dim() - rate.dim() == 3
        W, G = (_complex(one) if pair else one.double() for one in (parameter, gradient))
        # Factorisations of what is not finite may raise, or never end: NaN is put back afterwards.
        finite = (torch.isfinite(W) & torch.isfinite(G)).all(-1).all(-1)[..., None, None]
        nothing = torch.zeros_like(W)
        moved = self.moved(
            torch.where(finite, W, nothing), torch.where(finite, G, nothing), rate[..., None, None]
        )
        moved = _nearer(moved)
        if pair:
            moved, finite = torch.stack([moved.real, moved.imag], -3), finite.unsqueeze(-3)
        return moved.to(parameter.dtype).masked_fill(~finite, float("nan"))

    @abstractmethod
    def moved(self, W: Tensor, G: Tensor, rate: Tensor) -> Tensor:
        """W after one step, before it is made more nearly orthogonal.

        Args:
            W: shape (..., n, n), float64 or complex128.
            G: the gradient, of the same shape.
            rate: the learning rate, shape (..., 1, 1).
        """


def _complex(parts: Tensor) -> Tensor:
    real, imaginary = parts.double().unbind(-3)
    return torch.complex(real, imaginary)


def _nearer(W: Tensor) -> Tensor:
    return 1.5 * W - 0.5 * (W @ (W.mH @ W))


@dataclass(frozen=True, kw_only=True)
class GeodesicSettings(ManifoldSettings):
    """Settings of `GeodesicDescent`."""

    name: ClassVar[str] = "geodesic"


@final
class GeodesicDescent(ManifoldOptimizer):
    """Steepest descent along a curve of orthogonal or unitary matrices.

    W <- (I + eta/2 A)^-1 (I - eta/2 A) W with A = G W^* - W G^*, skew-Hermitian. At eta = 0 the
    curve leaves W in direction -A W, along which <G, W> falls by |A|^2 / 2. Without preconditioner,
    then, a small enough step always descends.

    With the preconditioner it is the ``natGradRMS`` of Wisdom et al.

    Reference: Tagare, "Notes on Optimization on Stiefel Manifolds", 2011; Wisdom, Powers, Hershey,
    Le Roux, Atlas, "Full-Capacity Unitary Recurrent Neural Networks", NIPS 2016, arXiv:1611.00035,
    equations 8 and 9.
    """

    settings_type = GeodesicSettings

    def quick_steps(
        self, parameter: Tensor, gradient: Tensor, rate: Tensor
    ) -> Sequence[Tensor | None]:
        """The compiled steps of real matrices in float32, where they are small enough."""
        if parameter.dim() != 3 or parameter.dtype != torch.float32 or not serves(parameter):
            return super().quick_steps(parameter, gradient, rate)
        moved, made = torch.empty_like(parameter), torch.empty(len(parameter), dtype=torch.int64)
        sizes = (len(parameter), parameter.shape[1], threads_for_scans())
        run("geodesic_step", *sizes, rate, parameter, gradient.contiguous(), moved, made)
        return [one if done else None for one, done in zip(moved, made.tolist(), strict=True)]

    def moved(self, W: Tensor, G: Tensor, rate: Tensor) -> Tensor:
        """See `ManifoldOptimizer.moved`."""
        product = G @ W.mH
        A = product - product.mH  # skew-Hermitian to the last bit
        half = (0.5 * rate) * A
        identity = torch.eye(W.shape[-1], dtype=W.dtype, device=W.device)
        # Its eigenvalues are 1 + i times something: never singular.
        solution: Tensor = torch.linalg.solve_ex(identity + half, W - half @ W).result
        return solution


@dataclass(frozen=True, kw_only=True)
class ProjUNNSettings(ManifoldSettings):
    """Settings of `ProjUNN`; defaults as in the authors' programs."""

    name: ClassVar[str] = "projunn"
    preconditioner: Literal["none", "rmsprop"] = setting(
        "rmsprop",
        structural=True,
        help="rmsprop: divide the gradient by the root of its square's mean",
    )
    alpha: float = setting(0.99, ge=0, lt=1, help="rmsprop: smoothing of the squared gradient")
    variant: Literal["direct", "tangent"] = setting(
        "tangent", structural=True, help="direct (D): the nearest orthogonal matrix; tangent (T)"
    )
    rank: int = setting(1, ge=1, structural=True, help="rank k of the update")
    low_rank: Literal["svd", "columns"] = setting(
        "svd", structural=True, help="the update's factors: leading singular ones, or columns"
    )


@final
class ProjUNN(ManifoldOptimizer):
    """An update of rank k, brought back to the orthogonal or unitary matrices.

    The update -eta G is first replaced by a b^* with a and b of shape (n, k): by its k leading
    singular triplets (``svd``) or its k columns of largest norm (``columns``). With c = W^* a, then

    * ``direct``: W <- polar factor of W + a b^* = W (I + c b^*), the nearest unitary matrix;
    * ``tangent``: W <- W exp((c b^* - b c^*) / 2), the exponential of the part of a b^* along the
      manifold.

    Both differ from the identity only within the span of b and c, so that, given the factors, the
    work is O(k n^2); polar factor and exponential are those of a 2k x 2k matrix.

    With ``svd`` and without preconditioner a small step of ``tangent`` never ascends, as
    <G, W G_k^* W> is at most the sum of the k largest squared singular values, which is <G, G_k>.

    Reference: Kiani, Balestriero, LeCun, Lloyd, "projUNN: efficient method for training deep
    networks with unitary matrices", NeurIPS 2022, arXiv:2203.05483.
    Differs from the paper: the factors are not sampled but exact, so that they depend on nothing
    but G, and a resumed trial goes on bit for bit. Sampling (the paper's LSI, which estimates the
    leading singular triplets, or columns drawn by their norms) pays for n of many thousands; the
    eigenvectors of G^* G cost O(n^3) once per iteration, little beside a scan over many steps.
    """

    settings_type = ProjUNNSettings

    def __init__(self, group: ParameterGroup, slots: Sequence[OptimizerSettings]) -> None:
        super().__init__(group, slots)
        if not isinstance(slots[0], ProjUNNSettings):
            raise TypeError(f"expected settings of projunn, found {slots[0]!r}")
        self._settings = slots[0]

    def moved(self, W: Tensor, G: Tensor, rate: Tensor) -> Tensor:
        """See `ManifoldOptimizer.moved`."""
        b = self._directions(G)
        a = -rate * (G @ b)
        c = W.mH @ a
        Q = torch.linalg.qr(torch.cat([b, c], -1)).Q  # its span holds theirs even if they coincide
        small = (Q.mH @ c) @ (Q.mH @ b).mH
        identity = torch.eye(small.shape[-1], dtype=W.dtype, device=W.device)
        if self._settings.variant == "direct":
            left, _, right = torch.linalg.svd(identity + small)
            rotation = left @ right
        else:
            rotation = torch.linalg.matrix_exp(0.5 * (small - small.mH))
        turned: Tensor = W + (W @ Q) @ (rotation - identity) @ Q.mH
        return turned

    def _directions(self, G: Tensor) -> Tensor:
        """The matrix b, orthonormal columns, shape (..., n, k); then a b^* = -eta G b b^*."""
        rank = self._settings.rank
        if self._settings.low_rank == "svd":
            vectors: Tensor = torch.linalg.eigh(G.mH @ G).eigenvectors
            return vectors[..., -rank:]
        norms = torch.linalg.vector_norm(G, dim=-2)
        leading = norms.topk(rank, -1).indices
        identity = torch.eye(G.shape[-1], dtype=G.dtype, device=G.device)
        return identity[leading].mT.contiguous()
