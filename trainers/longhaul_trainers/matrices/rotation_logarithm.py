"""The real logarithm of a rotation."""

import torch
from torch import Tensor


def rotation_logarithm(Q: Tensor) -> Tensor:
    """The skew-symmetric A with exp(A) = Q whose angles lie within (-pi, pi).

    The Cayley transform (I - Q) (I + Q)^-1 of a rotation by theta has the eigenvalue
    -i tan(theta / 2) to the same eigenvector, and i times it is Hermitian: its eigenvectors come
    out orthonormal, however near two angles are, which those of Q itself need not.

    Args:
        Q: shape (H, H), orthogonal with determinant 1 and without the eigenvalue -1, float64.

    Returns:
        Shape (H, H), skew-symmetric to the last bit. Its error grows as 1 / (pi - theta) for the
        largest angle theta.

    Raises:
        torch.linalg.LinAlgError: Q has the eigenvalue -1, to which belong many logarithms.
    """
    identity = torch.eye(Q.shape[-1], dtype=Q.dtype, device=Q.device)
    transformed = torch.linalg.solve(identity + Q, identity - Q)
    transformed = (transformed - transformed.mT) / 2
    tangents, vectors = torch.linalg.eigh(1j * transformed)
    A = -((vectors * (2 * tangents.atan())) @ vectors.mH).imag
    skew: Tensor = (A - A.mT) / 2
    return skew
