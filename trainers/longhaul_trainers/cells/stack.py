"""Cells of several recurrent layers: bare, or in blocks as linear recurrences are published.

Dimensions: T steps, P slots, B sequences in a batch, I inputs, H hidden units.

A cell that can be stacked is a `Layer` and a `StackedCell` that names it::

    @dataclass(frozen=True, kw_only=True)
    class LeakySettings(StackSettings):
        name: ClassVar[str] = "leaky"
        decay: float = setting(0.9, help="by which h is multiplied")

    class LeakyLayer(Layer[LeakySettings]):
        def __init__(self, input_size, slots, generators, depth):
            super().__init__(input_size, slots, generators, depth)
            draw = lambda slot, drawn: glorot_uniform(slot.hidden_size, input_size, drawn)
            self.input_weight = stack_slots(slots, generators, draw)
            decay = slot_vector(slots, lambda slot: slot.decay)[:, None]
            self.register_buffer("decay", decay.expand(-1, self.hidden_size))

        @classmethod
        def parameter_count(cls, input_size, settings):
            return settings.hidden_size * input_size

        def initial_state(self, inputs):
            return self.zero_state(inputs, self.hidden_size)

        def forward(self, inputs, state):
            (initial,) = self.initial_state(inputs) if state is None else state
            products = hoisted_input_product(inputs, self.input_weight)
            hidden = linear_scan(self.decay, products, initial)
            return hidden, (hidden[-1],)

        def parameter_groups(self):
            ratio = torch.ones(self.pack_size)
            return [ParameterGroup("main", (self.input_weight,), ratio)]

    @final
    class Leaky(StackedCell[LeakySettings]):
        settings_type = LeakySettings
        layer_type = LeakyLayer
        equations = "h' = decay h + V x"
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from longhaul_trainers.cells.base import Cell, CellSettings, State
from longhaul_trainers.cells.block import Gate, Norm, linear, linear_count
from longhaul_trainers.parameter_groups import ParameterGroup
from longhaul_trainers.scans.inputs import hoisted_input_product
from longhaul_trainers.settings import setting


@dataclass(frozen=True, kw_only=True)
class StackSettings(CellSettings):
    """What every cell of several layers has."""

    layers: int = setting(2, ge=1, structural=True, help="number of recurrent layers")
    mode: Literal["bare", "block"] = setting(
        "block",
        structural=True,
        help="bare: layer upon layer; block: an encoder, then norm, layer, gate and skip each time",
    )
    norm: Literal["layer", "batch", "none"] | None = setting(
        None, structural=True, help="normalisation of each layer; null: layer in blocks, else none"
    )
    prenorm: bool = setting(
        True, structural=True, help="blocks: normalise before the layer, not after the skip"
    )
    gate: Literal["glu", "gelu_glu", "none"] = setting(
        "glu", structural=True, help="blocks: between layer and skip; gelu_glu: a GELU before it"
    )

    @property
    def normalisation(self) -> Literal["layer", "batch", "none"]:
        """``norm`` with its default filled in."""
        return self.norm or ("layer" if self.mode == "block" else "none")


S = TypeVar("S", bound=StackSettings)


class Layer(nn.Module, ABC, Generic[S]):
    """P independent copies of one recurrent layer of a `StackedCell`.

    Its outputs have the size ``hidden_size``, whatever its state has. It must satisfy what a cell
    must: each slot's numbers depend on that slot alone, bit for bit on a CPU.

    Args:
        input_size: I; in blocks H.
        slots: the settings of each of the P slots, of equal structure.
        generators: one CPU generator a slot.
        depth: which layer of ``slots[0].layers`` this is, counted from 0.
    """

    state_count: ClassVar[int] = 1
    """Number of tensors of its state."""

    def __init__(
        self,
        input_size: int,
        slots: Sequence[S],
        generators: Sequence[torch.Generator],
        depth: int,
    ) -> None:
        super().__init__()
        self.slots = tuple(slots)
        self.input_size = input_size
        self.hidden_size = slots[0].hidden_size
        self.pack_size = len(slots)
        self.depth = depth

    @classmethod
    @abstractmethod
    def parameter_count(cls, input_size: int, settings: S) -> int:
        """Number of trainable parameters of one slot's layer, by formula."""

    @abstractmethod
    def initial_state(self, inputs: Tensor) -> State:
        """What a layer starts from, see `Cell.initial_state`; ``inputs`` may be another layer's."""

    @abstractmethod
    def forward(self, inputs: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Runs the layer over time.

        Args:
            inputs: shape (T, P, B, I).
            state: where to start, ``state_count`` tensors (P, B, ...); None for its own start.

        Returns:
            The outputs of all steps, shape (T, P, B, H), and the state after the last.
        """

    def zero_state(self, inputs: Tensor, *sizes: int) -> State:
        """Zeros (P, B, size), one tensor for each size, for inputs (T, P, B, I)."""
        return tuple(inputs.new_zeros(self.pack_size, inputs.shape[2], size) for size in sizes)

    @abstractmethod
    def parameter_groups(self) -> list[ParameterGroup]:
        """All its parameters.

        The groups of one name become one group of the cell, so a name means the same ratios, decay
        and optimiser in every layer; ``main`` is at the trial's own learning rate.
        """

    def after_step(self) -> None:
        """Called after each optimiser step; does nothing by default."""

    def diagnostics(self) -> dict[str, Tensor]:
        """Numbers (P,) to log under ``recurrent/``, float64; of several layers each is numbered."""
        return {}


class StackedCell(Cell, Generic[S]):
    """A cell of one layer or several; a subclass says which.

    * ``mode: bare``: each layer reads the outputs of the one below, normalised if ``norm`` says so
      (after the layer, as in IndRNN).
    * ``mode: block``: x is encoded to H numbers, then each block adds gate(layer(norm(x))) to x.
      ``gate: glu`` is (W1 y + b1) * sigmoid(W2 y + b2). With ``prenorm: false`` the norm follows
      the skip. There is no dropout.

    A linear recurrence under a linear readout has no nonlinearity over time when it stands alone:
    compare it with other cells in blocks, as published.

    The weights of encoder and gates start uniform on ±1 / sqrt(fan in), their biases at 0, the
    norms' scales at 1 and shifts at 0. A slot's generator is drawn from in this order: encoder,
    then for each block layer and gate. Batch normalisation takes its statistics from the batch in
    training, and running means of them (momentum 0.1) in evaluation.

    The carried state has the tensors of the first layer, then those of the second, and so on.
    """

    layer_type: ClassVar[type[Layer]]  # type: ignore[type-arg]
    """What is stacked."""

    def __init__(
        self,
        input_size: int,
        slots: Sequence[S],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__(input_size, slots, generators)
        first, size = slots[0], self.hidden_size
        self.in_blocks = first.mode == "block"
        self.prenorm = first.prenorm
        layers, norms, gates = [], [], []
        if self.in_blocks:
            self.encoder_weight, self.encoder_bias = linear(input_size, size, generators)
        for depth in range(first.layers):
            below = size if depth or self.in_blocks else input_size
            layers.append(self.layer_type(below, slots, generators, depth))
            if first.normalisation != "none":
                norms.append(Norm(first.normalisation, size, self.pack_size))
            if self.in_blocks and first.gate != "none":
                gates.append(Gate(size, first.gate == "gelu_glu", generators))
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(norms)
        self.gates = nn.ModuleList(gates)

    @classmethod
    def parameter_count(cls, input_size: int, settings: CellSettings) -> int:
        if not isinstance(settings, StackSettings):
            raise TypeError(f"expected settings of a cell of layers, found {settings!r}")
        size, in_blocks = settings.hidden_size, settings.mode == "block"
        below = size if in_blocks else input_size
        count = linear_count(input_size, size) if in_blocks else 0
        count += cls.layer_type.parameter_count(below, settings)
        count += (settings.layers - 1) * cls.layer_type.parameter_count(size, settings)
        if settings.normalisation != "none":
            count += settings.layers * Norm.parameter_count(size)
        if in_blocks and settings.gate != "none":
            count += settings.layers * Gate.parameter_count(size)
        return count

    def initial_state(self, inputs: Tensor) -> State:
        return tuple(one for layer in self._layers() for one in layer.initial_state(inputs))

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        outputs = inputs
        if self.in_blocks:
            outputs = hoisted_input_product(inputs, self.encoder_weight, self.encoder_bias)
        ends: list[Tensor] = []
        count = self.layer_type.state_count
        for depth in range(len(self.layers)):
            start = None if state is None else state[depth * count : (depth + 1) * count]
            run = self._block if self.in_blocks else self._layer
            outputs, end = run(depth, outputs, start)
            ends += end
        return outputs, tuple(ends)

    def _layer(self, depth: int, inputs: Tensor, state: State | None) -> tuple[Tensor, State]:
        outputs, end = self.layers[depth](inputs, state)
        return self._normalised(depth, outputs), end

    def _block(self, depth: int, inputs: Tensor, state: State | None) -> tuple[Tensor, State]:
        read = self._normalised(depth, inputs) if self.prenorm else inputs
        outputs, end = self.layers[depth](read, state)
        if len(self.gates):
            outputs = self.gates[depth](outputs)
        outputs = inputs + outputs
        return (outputs if self.prenorm else self._normalised(depth, outputs)), end

    def _normalised(self, depth: int, outputs: Tensor) -> Tensor:
        normalised: Tensor = self.norms[depth](outputs) if len(self.norms) else outputs
        return normalised

    def parameter_groups(self) -> list[ParameterGroup]:
        own = [*self.norms.parameters(), *self.gates.parameters()]
        if self.in_blocks:
            own += [self.encoder_weight, self.encoder_bias]
        found = {"main": ParameterGroup("main", tuple(own), torch.ones(self.pack_size))}
        for layer in self._layers():
            for group in layer.parameter_groups():
                others = found[group.name].parameters if group.name in found else ()
                found[group.name] = replace(group, parameters=others + group.parameters)
        return [group for group in found.values() if group.parameters]

    def after_step(self) -> None:
        for layer in self._layers():
            layer.after_step()

    def diagnostics(self) -> dict[str, Tensor]:
        layers = self._layers()
        if len(layers) == 1:
            return layers[0].diagnostics()
        return {
            f"{name}_{depth}": values
            for depth, layer in enumerate(layers, 1)
            for name, values in layer.diagnostics().items()
        }

    def _layers(self) -> list[Layer[S]]:
        return [layer for layer in self.layers if isinstance(layer, Layer)]
