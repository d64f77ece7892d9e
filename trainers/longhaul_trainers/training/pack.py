"""Trials of equal shape, trained together as one batched computation."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from longhaul_trainers.seeds import derive_seed
from longhaul_trainers.slots import joined, parted
from longhaul_trainers.tasks.base import Batch, Task
from longhaul_trainers.threads import one_thread_but_scans
from longhaul_trainers.training.carried import CarriedState
from longhaul_trainers.training.checkpoint import check_tensors
from longhaul_trainers.training.evaluation import Measure, evaluate
from longhaul_trainers.training.gradient_flow import gradient_flow
from longhaul_trainers.training.model import SequenceModel
from longhaul_trainers.training.optimizers import (
    OptimizerSettings,
    PackOptimizer,
    gradient_norms,
)
from longhaul_trainers.training.point import Divergence, Point
from longhaul_trainers.training.settings import TrialConfig
from longhaul_trainers.training.slot_state import SlotState

__all__ = ["Divergence", "Pack", "Point"]


class Pack:
    """P trials in one batched computation; a single trial is P = 1.

    A trial's curve depends on its configuration and seed alone: not on its neighbours or how far
    they are, nor on how often training was cut, as long as the points of evaluation are the same.
    Nor does it on the number of threads, which the compiled scans alone make use of.

    Args:
        trials: configurations of equal structure.
        device: where to compute.
        states: where each trial stands; None for one that begins.
        measure: of an earlier pack of this structure, to be shared; None: made anew.

    Raises:
        ValueError: the trials differ in what must be equal inside a pack, or a state is not of
            its trial.
    """

    def __init__(
        self,
        trials: Sequence[TrialConfig],
        device: str | torch.device = "cpu",
        states: Sequence[SlotState | None] | None = None,
        measure: Measure | None = None,
    ) -> None:
        if any(trial.structure() != trials[0].structure() for trial in trials):
            raise ValueError("the trials of a pack must be equal in everything structural")
        self.trials = tuple(trials)
        self.device = torch.device(device)
        self.measure = measure or Measure(trials[0], self.device)
        self.task: Task = self.measure.task
        self.model = self._model(range(len(trials)))
        self.optimizer = PackOptimizer(
            self.model.parameter_groups(), [_optimizer(trial) for trial in trials]
        )
        self._carried = self._new_carried_state() if self.task.carries_state else None
        self._data_seeds = [derive_seed(trial.seed, "data") for trial in trials]
        limits = [trial.training.clip_norm or math.inf for trial in trials]
        self._clip = None if min(limits) == math.inf else self._vector(limits, torch.float64)
        self._loss_limits = [self.task.baseline * one.training.divergence for one in trials]
        self._parameters = list(self.model.parameters())
        self._unclipped = torch.ones(len(trials), device=self.device)
        everyone = [True] * len(trials)
        self._last_active = (everyone, self._vector(everyone, torch.bool))
        self.idle = [False] * len(trials)
        """Slots that training leaves where they are."""
        self.steps_done = [0] * len(trials)
        self.divergences: list[Divergence | None] = [None] * len(trials)
        # Sums since the last point of the curve: training loss and gradient norm.
        self._sums = torch.zeros(2, len(trials), dtype=torch.float64, device=self.device)
        self._summed = [0] * len(trials)
        self._last_points = [0] * len(trials)
        self._clocks = [(0, time.perf_counter())] * len(trials)
        # Lower is better, whichever way the metric goes that selects.
        self._best_value = self._vector([math.inf] * len(trials), torch.float64)
        self.best_step = [0] * len(trials)
        """Training steps after which each slot's weights validated best."""
        self.best_loss = [math.inf] * len(trials)
        """Validation loss of those weights."""
        self._best_weights = {name: t.clone() for name, t in self.model.state_dict().items()}
        self._views: dict[tuple[int, ...], SequenceModel] = {}
        for p, state in enumerate(states or ()):
            if state is not None:
                self.load(p, state)

    @property
    def steps(self) -> int:
        """Training steps after which the last of the trials is done."""
        return max(trial.training.steps or 0 for trial in self.trials)

    @property
    def step(self) -> int:
        """Training steps of the slot that is furthest."""
        return max(self.steps_done)

    def train(self, until: int | None = None) -> Iterator[list[Point]]:
        """Trains on, and yields one point for each slot wherever the curve has one.

        All slots must have made the same number of steps. A point falls on every
        ``evaluate_every`` steps, on ``until``, and on the step at which the last trial still alive
        diverges. The first one of every ``diagnose_every`` steps and the last one also have
        diagnostics. Training may be dropped after any point and taken up again by another call, or
        from a checkpoint in another process.

        Args:
            until: step count at which to end; None for all of the steps.

        Raises:
            ValueError: the slots are not equally far.
        """
        if min(self.steps_done) != max(self.steps_done):
            raise ValueError(f"the slots are not equally far: {self.steps_done}")
        until = min(until or self.steps, self.steps)
        every = self.trials[0].training.evaluate_every
        slots = range(len(self.trials))
        self._set_clocks(slots)
        while self.step < until and not all(self.divergences):
            self.train_step()
            ended = self.step == until or all(self.divergences)
            if self.step % every == 0 or ended:
                yield self.points(slots, valid=not all(self.divergences))
                self._set_clocks(slots)

    @one_thread_but_scans()
    def test(self, slots: Sequence[int] | None = None) -> list[dict[str, float]]:
        """Loss and metrics on the test set of the weights that validated best.

        Args:
            slots: those wanted; None for all.
        """
        chosen = tuple(range(len(self.trials)) if slots is None else slots)
        model = self._model(chosen)
        model.load_state_dict(_rows(self._best_weights, chosen))
        measured = evaluate(model, self.task, self.measure.test)
        return [
            {f"test/{name}": values[i].item() for name, values in measured.items()}
            for i in range(len(chosen))
        ]

    def best_weights(self, slot: int) -> dict[str, Tensor]:
        """One slot's weights where they validated best, on the CPU, without the pack dimension."""
        return {name: t[slot].cpu().clone() for name, t in self._best_weights.items()}

    def checkpoint(self, slot: int = 0) -> dict[str, bytes]:
        """Everything that `restore` needs to go on with a slot bit for bit, as named files."""
        return self.slot_state(slot).checkpoint()

    def restore(self, files: Mapping[str, bytes], slot: int = 0) -> None:
        """Takes up the state of a checkpoint of the same trial, from whatever pack it is.

        Raises:
            ValueError: the checkpoint is of another trial, or not one of ours.
        """
        self.load(slot, SlotState.from_checkpoint(files))

    def slot_state(self, slot: int) -> SlotState:
        """All that one slot holds, copied."""
        return SlotState(
            trial=self.trials[slot],
            step=self.steps_done[slot],
            last_point=self._last_points[slot],
            summed=self._summed[slot],
            best_step=self.best_step[slot],
            best_loss=self.best_loss[slot],
            divergence=self.divergences[slot],
            tensors={name: t.detach().clone() for name, t in self._tensors(slot).items()},
        )

    def load(self, slot: int, state: SlotState) -> None:
        """Puts a trial's state into its slot.

        Raises:
            ValueError: the state is of another trial.
        """
        mine = self._tensors(slot)
        check_tensors(state.tensors, mine)
        if state.trial != self.trials[slot]:
            raise ValueError("the checkpoint belongs to another configuration")
        with torch.no_grad():
            for name, tensor in mine.items():
                tensor.copy_(state.tensors[name])
        self.steps_done[slot], self._last_points[slot] = state.step, state.last_point
        self._summed[slot], self.best_step[slot] = state.summed, state.best_step
        self.best_loss[slot] = state.best_loss
        self.divergences[slot] = state.divergence
        self._set_clocks([slot])

    def _tensors(self, slot: int) -> dict[str, Tensor]:
        """The whole numeric state of one slot by name, as views that keep the pack dimension."""
        model = {f"model.{name}": t for name, t in self.model.state_dict().items()}
        best = {f"best.{name}": t for name, t in self._best_weights.items()}
        optimizer = {f"optimizer.{name}": t for name, t in self.optimizer.tensors().items()}
        carried = self._carried.tensors() if self._carried else {}
        leading = model | best | optimizer | carried | {"best_value": self._best_value}
        views = {name: tensor[slot : slot + 1] for name, tensor in leading.items()}
        return views | {"sums": self._sums[:, slot : slot + 1]}

    def _new_carried_state(self) -> CarriedState:
        batch_size = self.trials[0].training.batch_size or 0
        return CarriedState(self.model.cell, batch_size, self.device)

    @one_thread_but_scans()
    def train_step(self) -> None:
        """One training step of every slot that has neither diverged nor is idle."""
        batch = Batch.stack(
            [
                self.task.training_batch(seed, step, trial.training.batch_size or 0)
                for seed, step, trial in zip(
                    self._data_seeds, self.steps_done, self.trials, strict=True
                )
            ]
        ).to(self.device)
        for parameter in self._parameters:
            parameter.grad = None
        outputs = parted(self._read(batch.inputs))
        losses = joined([self.task.loss(one, batch.targets[:, p]) for p, one in enumerate(outputs)])
        penalty = self.model.cell.penalty()
        # As the gradient of the slots' sum it reaches each from its own loss alone.
        total = losses if penalty is None else losses + penalty
        torch.autograd.backward(total, torch.ones_like(total))
        norms = gradient_norms(self._parameters, len(self.trials))
        for p, idle in enumerate(self.idle):
            self.steps_done[p] += not idle
            self._summed[p] += not idle
        self._watch(losses.detach().double(), norms)
        scale = self._unclipped
        if self._clip is not None:
            scale = (self._clip / (norms + 1e-6)).clamp(max=1).float()
        self.optimizer.step(self._active(), scale)
        self.model.cell.after_step()

    def _active(self) -> Tensor:
        """Which slots are trained, as a vector that is made anew only where it has changed."""
        wanted = [
            divergence is None and not idle
            for divergence, idle in zip(self.divergences, self.idle, strict=True)
        ]
        if wanted != self._last_active[0]:
            self._last_active = (wanted, self._vector(wanted, torch.bool))
        return self._last_active[1]

    def _read(self, inputs: Tensor) -> Tensor:
        """The readouts of a training batch (T, P, B, I), which may go on from the last one."""
        if self._carried is None:
            read: Tensor = self.model(inputs)
            return read
        starts = [self.task.starts_over(step, inputs.shape[2]) for step in self.steps_done]
        outputs, after = self.model.run(inputs, self._carried.begin(inputs, starts))
        self._carried.keep(after, [not idle for idle in self.idle])
        return outputs

    def _watch(self, losses: Tensor, norms: Tensor) -> None:
        seen = torch.stack([losses, norms])
        self._sums += seen
        for p, (loss, norm) in enumerate(zip(*seen.tolist(), strict=True)):
            reason = _reason(loss, norm, self._loss_limits[p])
            if reason is not None and self.divergences[p] is None and not self.idle[p]:
                self.divergences[p] = Divergence(self.steps_done[p], reason)

    @one_thread_but_scans()
    def points(self, slots: Sequence[int], *, valid: bool) -> list[Point]:
        """One point of the curve of each of these slots, where they stand now.

        Args:
            slots: those wanted, ascending.
            valid: whether they are measured, or only what training saw is told.
        """
        measured = [self._trained(p) for p in slots]
        if valid:
            model = self._view(tuple(slots))
            found = evaluate(model, self.task, self.measure.validation)
            self._keep_best(slots, found)
            told = {f"valid/{name}": values for name, values in found.items()}
            told["valid/over_baseline"] = found["loss"] / self.task.baseline
            penalty = model.cell.penalty()
            if penalty is not None:
                told["recurrent/penalty"] = penalty.detach()
            _tell(measured, told)
            due = [i for i, p in enumerate(slots) if self._diagnosed(p)]
            if due:
                told = self._diagnostics(self._view(tuple(slots[i] for i in due)))
                _tell([measured[i] for i in due], told)
        for p in slots:
            self._last_points[p] = self.steps_done[p]
        return [
            Point(self.steps_done[p], metrics) for p, metrics in zip(slots, measured, strict=True)
        ]

    def _trained(self, slot: int) -> dict[str, float]:
        """What training saw of a slot since the last point, which it forgets."""
        loss, norm = (self._sums[:, slot] / self._summed[slot]).tolist()
        self._sums[:, slot] = 0
        self._summed[slot] = 0
        began, then = self._clocks[slot]
        speed = (self.steps_done[slot] - began) / (time.perf_counter() - then)
        return {"train/loss": loss, "gradient/norm": norm, "speed/steps_per_second": speed}

    def _diagnosed(self, slot: int) -> bool:
        every, step = self.trials[slot].training.diagnose_every, self.steps_done[slot]
        last = self.trials[slot].training.steps
        return step == last or step // every > self._last_points[slot] // every

    def _diagnostics(self, model: SequenceModel) -> dict[str, Tensor]:
        flow = gradient_flow(model, self.task, self.measure.validation.first())
        measured = {f"gradient/{name}": values for name, values in flow.items()}
        recurrent = model.cell.diagnostics()
        return measured | {f"recurrent/{name}": values for name, values in recurrent.items()}

    def _keep_best(self, slots: Sequence[int], found: Mapping[str, Tensor]) -> None:
        current = self.model.state_dict()
        lowest = self._best_value.tolist()
        metric = self.trials[0].training.select or "loss"
        values = found[metric].double()
        values = -values if self.task.better[metric] == "higher" else values
        for p, value, loss in zip(slots, values.tolist(), found["loss"].tolist(), strict=True):
            if self.divergences[p] is None and value < lowest[p]:
                self._best_value[p] = value
                self.best_step[p], self.best_loss[p] = self.steps_done[p], loss
                for name, best in self._best_weights.items():
                    best[p] = current[name][p]

    def _view(self, slots: tuple[int, ...]) -> SequenceModel:
        """The model of these slots alone, to be measured, not trained."""
        if slots == tuple(range(len(self.trials))):
            return self.model
        if slots not in self._views:
            if len(self._views) >= len(self.trials):
                self._views.clear()
            self._views[slots] = self._model(slots)
        view = self._views[slots]
        view.load_state_dict(_rows(self.model.state_dict(), slots))
        return view

    @one_thread_but_scans()
    def _model(self, slots: Sequence[int]) -> SequenceModel:
        """These slots' model as it is before training."""
        trials = [self.trials[p] for p in slots]
        generators = [
            torch.Generator().manual_seed(derive_seed(trial.seed, "initialization"))
            for trial in trials
        ]
        cells, precision = [trial.cell for trial in trials], trials[0].training.precision
        return SequenceModel(self.task, cells, generators, precision).to(self.device)

    def _set_clocks(self, slots: Sequence[int]) -> None:
        now = time.perf_counter()
        for p in slots:
            self._clocks[p] = (self.steps_done[p], now)

    def _vector(self, values: Sequence[float], dtype: torch.dtype) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=self.device)


def _rows(tensors: Mapping[str, Tensor], slots: Sequence[int]) -> dict[str, Tensor]:
    return {name: tensor[list(slots)] for name, tensor in tensors.items()}


def _tell(measured: Sequence[dict[str, float]], told: Mapping[str, Tensor]) -> None:
    for name, values in told.items():
        for metrics, value in zip(measured, values.tolist(), strict=True):
            metrics[name] = value


def _optimizer(trial: TrialConfig) -> OptimizerSettings:
    settings = trial.training.optimizer
    if not isinstance(settings, OptimizerSettings):
        raise TypeError(f"settings of optimizer {settings.name!r} are not OptimizerSettings")
    return settings


def _reason(loss: float, norm: float, limit: float) -> str | None:
    if not math.isfinite(loss):
        return f"training loss is {loss}"
    if loss > limit:
        return f"training loss {loss:.3g} is above the limit {limit:.3g}"
    if not math.isfinite(norm):
        return f"gradient norm is {norm}"
    return None
