"""wRNN: waves that travel along rings of units."""

from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.cells.elman import ElmanCell, ElmanSettings
from longhaul_trainers.matrices.circular import CircularMatrix, CircularSettings
from longhaul_trainers.nonlinearities import ReLUSettings
from longhaul_trainers.settings import Settings, component, setting


@dataclass(frozen=True, kw_only=True)
class WRNNSettings(CircularSettings, ElmanSettings):
    """Settings of `WRNN`; the sizes are ours, see there for the published ones."""

    name: ClassVar[str] = "wrnn"
    channels: int = setting(
        2, ge=1, structural=True, help="number c of rings; hidden_size is a multiple of it"
    )
    nonlinearity: Settings = component(NONLINEARITIES, ReLUSettings(), help="phi")
    input_init: Literal["single", "normal"] = setting(
        "normal",
        help="initial V: 1 into the first unit of every ring and 0 elsewhere, or all entries "
        "normal with deviation 0.001",
    )

    def check(self) -> None:
        super().check()
        self.check_rings(self.hidden_size)


@final
class WRNN(ElmanCell[WRNNSettings]):
    """The simple recurrent network whose W is a convolution along rings of units.

    With ``recurrent_init: shift`` and rectifiers, what enters the first unit of a ring travels
    along it, so that a ring of l units remembers the last l inputs. The authors start V with
    ``input_init: single`` for copying (100 units in each of 6 rings) and adding (27 rings), with
    ``normal`` for images; b at 0, h0 is 0. With ``single`` and a shift or the identity nothing is
    drawn: seeds differ in their data alone. They tried learning rates of 0.01, 0.001 and 0.0001
    with Adam, and clipping by norm at 1, 10 (for adding up to 1000) or not at all.
    """

    settings_type = WRNNSettings
    equations = (
        "h' = phi(W h + V x + b)\n"
        "(W h)_{r,i} = sum over rings s and offsets d of K_{r,s,d} h_{s,i+d}, |d| <= (k-1)/2"
    )
    reference = CircularMatrix.reference
    bibtex = """@inproceedings{keller2024traveling,
  title = {Traveling Waves Encode the Recent Past and Enhance Sequence Learning},
  author = {Keller, T. Anderson and Muller, Lyle and Sejnowski, Terrence and Welling, Max},
  booktitle = {International Conference on Learning Representations},
  year = {2024},
}"""
    differs = (
        "One bias for each unit, starting at 0, where the authors' program adds a second one for "
        "each ring (c more parameters of no effect of their own) and starts both at random. Their "
        "copying loss is divided by the batch size once too often and their copying sequence has "
        "T + 10 steps in all, so neither their curves nor their baseline compare with others'."
    )
    count_formula = "channels ** 2 * kernel_size + n * m + n"
    search_ranges: ClassVar = {
        "training.optimizer.learning_rate": "{loguniform: [1e-4, 1e-2]}",
        "channels": "{choice: [1, 2, 4, 8]}",
        "recurrent_init": "{choice: [shift, identity]}",
        "input_init": "{choice: [single, normal]}",
    }
    has_bias = True
    matrix_type = CircularMatrix

    @classmethod
    def draw_input(
        cls, slot: WRNNSettings, rows: int, input_size: int, generator: torch.Generator
    ) -> Tensor:
        if slot.input_init == "normal":
            return cls.draw_input_weight(rows, input_size, generator)
        weight = torch.zeros(slot.channels, rows // slot.channels, input_size)
        weight[:, 0] = 1
        return weight.view(rows, input_size)

    @staticmethod
    def draw_input_weight(rows: int, input_size: int, generator: torch.Generator) -> Tensor:
        return 0.001 * torch.randn(rows, input_size, generator=generator)
