"""The Elman cell composed of any recurrent matrix and any nonlinearity."""

from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.catalogue import MATRICES, NONLINEARITIES
from longhaul_trainers.cells.elman import BareElmanSettings, ElmanCell
from longhaul_trainers.errors import SettingError
from longhaul_trainers.initialisation import (
    glorot_normal,
    glorot_uniform,
    kaiming_normal,
    uniform,
)
from longhaul_trainers.matrices.base import RecurrentMatrix, RecurrentSettings
from longhaul_trainers.matrices.free import FreeSettings
from longhaul_trainers.settings import Settings, component, setting

InputInit = Literal["glorot", "glorot_normal", "kaiming_normal", "normal", "uniform"]


@dataclass(frozen=True, kw_only=True)
class ComposedSettings(BareElmanSettings):
    """Settings of `ComposedElman`; learning-rate ratio and optimiser of W are the matrix's."""

    name: ClassVar[str] = "elman"
    matrix: Settings = component(MATRICES, FreeSettings(), help="W")
    bias: bool = setting(True, structural=True, help="whether there is a bias b; it starts at 0")
    input_init: InputInit = setting(
        "glorot", help="initial V; glorot is uniform, normal has deviation 1, uniform is on ±1"
    )
    input_gain: float = setting(1.0, ge=0, help="by which the initial V is multiplied")

    def check(self) -> None:
        matrix_type: type[RecurrentMatrix] = MATRICES.get(self.matrix.name)
        try:
            matrix_type.check_size(self.hidden_size, ComposedElman.matrix_settings(self))
        except SettingError as error:
            at = "hidden_size" if error.path == "hidden_size" else f"matrix.{error.path}"
            raise SettingError(at, error.problem) from None
        size = ComposedElman.output_size_for(self)
        NONLINEARITIES.get(self.nonlinearity.name).check_size(size)


@final
class ComposedElman(ElmanCell[ComposedSettings]):
    """The simple recurrent network of any recurrent matrix and any nonlinearity.

    Every published cell h' = phi(W h + V x + b) is one point of it, which its own name holds fast;
    here the choices are apart, so that a search can tell which of them matters: ``matrix: {choice:
    [{name: exponential}, {name: householder, reflections: {choice: [8, 32]}}]}``. A complex matrix
    has twice the outputs; give it ``nonlinearity: complex_modrelu``, which keeps phases, unless
    real and imaginary parts are to be squashed apart.
    """

    settings_type = ComposedSettings
    equations = "h' = phi(W h + V x + b)\nW as the matrix says, phi as the nonlinearity says"
    reference = 'Elman, "Finding Structure in Time", Cognitive Science 14(2), 1990'
    bibtex = """@article{elman1990finding,
  title = {Finding Structure in Time},
  author = {Elman, Jeffrey L.},
  journal = {Cognitive Science},
  volume = {14},
  number = {2},
  year = {1990},
}"""
    differs = "Not a published cell unless matrix, nonlinearity and starts are chosen as in one."
    count_formula = "n * n + n * m + n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "matrix": "{choice: [{name: free}, {name: exponential}, {name: cayley}]}",
        "nonlinearity": "{choice: [tanh, relu, modrelu]}",
        "input_init": "{choice: [glorot, kaiming_normal]}",
    }

    @classmethod
    def matrix_of(cls, settings: ComposedSettings) -> type[RecurrentMatrix]:
        matrix_type: type[RecurrentMatrix] = MATRICES.get(settings.matrix.name)
        return matrix_type

    @classmethod
    def matrix_settings(cls, settings: ComposedSettings) -> RecurrentSettings:
        if not isinstance(settings.matrix, RecurrentSettings):
            raise TypeError(f"expected settings of a recurrent matrix, found {settings.matrix!r}")
        return settings.matrix

    @classmethod
    def biased(cls, settings: ComposedSettings) -> bool:
        return settings.bias

    @classmethod
    def draw_input(
        cls, slot: ComposedSettings, rows: int, input_size: int, generator: torch.Generator
    ) -> Tensor:
        if slot.input_init == "normal":
            drawn = torch.randn(rows, input_size, generator=generator)
        elif slot.input_init == "uniform":
            drawn = uniform(-1, 1, rows, input_size, generator=generator)
        elif slot.input_init == "kaiming_normal":
            drawn = kaiming_normal(rows, input_size, generator)
        elif slot.input_init == "glorot_normal":
            drawn = glorot_normal(rows, input_size, generator)
        else:
            drawn = cls.draw_input_weight(rows, input_size, generator)
        return slot.input_gain * drawn

    @staticmethod
    def draw_input_weight(rows: int, input_size: int, generator: torch.Generator) -> Tensor:
        return glorot_uniform(rows, input_size, generator)
