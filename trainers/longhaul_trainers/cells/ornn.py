"""oRNN: an orthogonal recurrent matrix as a product of Householder reflections."""

from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells.elman import ElmanCell, ElmanSettings
from longhaul_trainers.initialisation import glorot_uniform
from longhaul_trainers.matrices.householder import HouseholderMatrix, HouseholderSettings
from longhaul_trainers.nonlinearities import LeakyReLUSettings
from longhaul_trainers.settings import Settings, component, setting


@dataclass(frozen=True, kw_only=True)
class ORNNSettings(HouseholderSettings, ElmanSettings):
    """Settings of `ORNN`; defaults as published for pixel MNIST and adding."""

    name: ClassVar[str] = "ornn"
    nonlinearity: Settings = component(NONLINEARITIES, LeakyReLUSettings(slope=0.1), help="phi")
    initial_state: Literal["zero", "learned"] = setting(
        "learned", structural=True, help="h0: 0, or a parameter that starts uniform on ±sqrt(3/2n)"
    )

    def check(self) -> None:
        super().check()
        self.reflection_count(self.hidden_size)


@final
class ORNN(ElmanCell[ORNNSettings]):
    """The simple recurrent network whose W is a product of m Householder reflections.

    V starts Glorot uniform, b at 0, the reflections uniform on the spheres, h0 (learned) uniform on
    ±sqrt(3 / 2n). One learning rate for everything; the authors used Adam without clipping and
    tried rates of 0.1, 0.01, 0.001 and 0.0001.

    Parity matters: below m = n the determinant of W is (-1)^m for good. W with an odd m and W with
    an even m are two sets that no path joins, neither of them all orthogonal matrices. So a search
    over m compares two different cells unless all its m are odd or all even; prefer even ones,
    which contain the rotations near the identity.
    """

    settings_type = ORNNSettings
    equations = (
        "h' = phi(W h + V x + b)\n"
        "W = H_n(u_n) ... H_{n-m+1}(u_{n-m+1}), m reflections\n"
        "H_k(u) = I - 2 u u^T on the last k coordinates, |u| = 1; H_1(u) = diag(1, ..., 1, u)\n"
        "W = I - U T^-1 U^T, T = striu(U^T U) + diag(U^T U) / 2, U = (u_n | ... | u_{n-m+1})"
    )
    reference = HouseholderMatrix.reference
    bibtex = """@inproceedings{mhammedi2017efficient,
  title = {Efficient Orthogonal Parametrisation of Recurrent Neural Networks Using Householder \
Reflections},
  author = {Mhammedi, Zakaria and Hellicar, Andrew and Rahman, Ashfaqur and Bailey, James},
  booktitle = {International Conference on Machine Learning},
  year = {2017},
}"""
    differs = (
        "W is formed once for a whole sequence instead of being applied step by step. The paper's "
        "first version divides by |U_m| in its algorithms 2 and 3 where |U_k|^2 is meant, which "
        "unit columns hide; the authors' gradient leaves out the derivative of the division. Here "
        "H(u) = I - 2 u u^T / |u|^2 with its exact gradient, that of the paper's equations 19 and "
        "20, and unit columns after every step. The authors' modReLU takes |z|^2 for |z|; here |z| "
        "as in their equation 6. The u start from a normal distribution as in their program, their "
        "text says uniform."
    )
    count_formula = "n * reflections - reflections * (reflections - 1) // 2 + n * m + 2 * n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-1]}",
        "reflections": "{choice: [2, 4, 8, 16, 32, 64, 128]}",
    }
    has_bias = True
    matrix_type = HouseholderMatrix

    @staticmethod
    def draw_input_weight(rows: int, input_size: int, generator: torch.Generator) -> Tensor:
        return glorot_uniform(rows, input_size, generator)
