"""A cell with its readout."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from longhaul_trainers.catalogue import CELLS
from longhaul_trainers.cells.base import Cell, CellSettings, State
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.precision import Precision
from longhaul_trainers.readout import Readout
from longhaul_trainers.slots import stack_slots
from longhaul_trainers.tasks.base import Task


class SequenceModel(nn.Module):
    """P cells, each with a linear readout.

    The readout's weights are Glorot uniform, its biases 0, as in Arjovsky et al. 2016
    (arXiv:1511.06464), whatever the cell, so that cells are compared under one readout.

    Args:
        task: gives input and output size and the steps that are read.
        slots: the cell settings of each slot.
        generators: one CPU generator a slot.
        precision: what the cell's scan is told.

    Raises:
        ValueError: the cell's scan is not written for this precision.
    """

    def __init__(
        self,
        task: Task,
        slots: Sequence[CellSettings],
        generators: Sequence[torch.Generator],
        precision: Precision = "float32",
    ) -> None:
        super().__init__()
        cell_type: type[Cell] = CELLS.get(slots[0].name)
        if precision not in cell_type.precisions(slots[0]):
            raise ValueError(f"the scan of cell {slots[0].name!r} is not written for {precision}")
        self.cell = cell_type(task.input_size, slots, generators)
        self.cell.precision = precision
        self.reads_last = task.reads == "last"
        fan_in, fan_out = self.cell.output_size, task.output_size
        bound = math.sqrt(6 / (fan_in + fan_out))

        def draw(_: CellSettings, generator: torch.Generator) -> Tensor:
            return (torch.rand(fan_in, fan_out, generator=generator) * 2 - 1) * bound

        self.readout_weight = stack_slots(slots, generators, draw)
        self.readout_bias = nn.Parameter(torch.zeros(len(slots), 1, fan_out))

    def forward(self, inputs: Tensor) -> Tensor:
        """The readouts (P, S, B, O) of the S steps that the task reads, for inputs (T, P, B, I)."""
        return self.run(inputs)[0]

    def run(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The readouts of inputs (T, P, B, I) that go on from a state, and the state after them.

        Raises:
            RuntimeError: the cell writes into its inputs, which are the task's own memory.
        """
        before = _version(inputs)
        found = self.cell.read(inputs, self.readout, state)
        if _version(inputs) != before:
            name = self.cell.settings_type.name
            raise RuntimeError(f"cell {name!r} writes into its inputs; let it write into a copy")
        return found

    @property
    def readout(self) -> Readout:
        """What makes the readouts (P, S, B, O) of a cell's outputs (T, P, B, N)."""
        return Readout(self.readout_weight, self.readout_bias, self.reads_last)

    def parameter_groups(self) -> list[ParameterGroup]:
        """The cell's groups and the readout's, at the trial's own learning rate."""
        ratio = torch.ones(self.cell.pack_size)
        readout = (self.readout_weight, self.readout_bias)
        return [*self.cell.parameter_groups(), ParameterGroup("main", readout, ratio)]

    @staticmethod
    def parameter_count(task: Task, settings: CellSettings) -> int:
        """Trainable parameters of one slot, cell and readout, by formula."""
        cell_type: type[Cell] = CELLS.get(settings.name)
        readout = (cell_type.output_size_for(settings) + 1) * task.output_size
        return cell_type.parameter_count(task.input_size, settings) + readout


def _version(tensor: Tensor) -> int:
    """Counts torch's writes into a tensor, where it does."""
    return 0 if tensor.is_inference() else tensor._version
