"""Trials of equal shape, trained together as one batched computation."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from longhaul_trainers.catalogue import TASKS
from longhaul_trainers.seeds import derive_seed
from longhaul_trainers.tasks.base import Batch, Task
from longhaul_trainers.training.checkpoint import read_checkpoint, write_checkpoint
from longhaul_trainers.training.evaluation import EvaluationSet, evaluate
from longhaul_trainers.training.gradient_flow import gradient_flow
from longhaul_trainers.training.model import SequenceModel
from longhaul_trainers.training.optimizers import (
    OptimizerSettings,
    PackOptimizer,
    gradient_norms,
)
from longhaul_trainers.training.settings import TrialConfig


@dataclass(frozen=True)
class Divergence:
    """How a trial left the numbers that mean something.

    Attributes:
        step: the training step that diverged, counted from 1.
        reason: what was seen.
    """

    step: int
    reason: str


@dataclass(frozen=True)
class Point:
    """One point of a trial's curve.

    Attributes:
        step: training steps done.
        metrics: by their full names, for example ``valid/loss``.
    """

    step: int
    metrics: dict[str, float]


class Pack:
    """P trials in one batched computation; a single trial is P = 1.

    A trial's curve depends on its configuration and seed alone: not on its neighbours, nor on how
    often training was cut, as long as the points of evaluation are the same. Each slot's
    arithmetic must run on one thread for this to hold bit for bit.

    Args:
        trials: configurations of equal structure.
        device: where to compute.

    Raises:
        ValueError: the trials differ in what must be equal inside a pack.
    """

    def __init__(self, trials: Sequence[TrialConfig], device: str | torch.device = "cpu") -> None:
        if any(trial.structure() != trials[0].structure() for trial in trials):
            raise ValueError("the trials of a pack must be equal in everything structural")
        self.trials = tuple(trials)
        self.device = torch.device(device)
        self.task: Task = TASKS.get(trials[0].task.name)(trials[0].task)
        generators = [
            torch.Generator().manual_seed(derive_seed(trial.seed, "initialization"))
            for trial in trials
        ]
        self.model = SequenceModel(self.task, [trial.cell for trial in trials], generators)
        self.model.to(self.device)
        self.optimizer = PackOptimizer(
            self.model.parameter_groups(), [_optimizer(trial) for trial in trials]
        )
        self._data_seeds = [derive_seed(trial.seed, "data") for trial in trials]
        self._clip = self._vector(
            [trial.training.clip_norm or math.inf for trial in trials], torch.float64
        )
        self._loss_limit = self.task.baseline * self._vector(
            [trial.training.divergence for trial in trials], torch.float64
        )
        self._validation = self._evaluation_set("validation")
        self.step = 0
        self.divergences: list[Divergence | None] = [None] * len(trials)
        # Sums since the last point of the curve: training loss and gradient norm.
        self._sums = torch.zeros(2, len(trials), dtype=torch.float64, device=self.device)
        self._summed = 0
        self.best_value = self._vector([math.inf] * len(trials), torch.float64)
        self.best_step = [0] * len(trials)
        self._best_weights = {name: t.clone() for name, t in self.model.state_dict().items()}

    @property
    def steps(self) -> int:
        """Training steps after which the last of the trials is done."""
        return max(trial.training.steps or 0 for trial in self.trials)

    def train(self, until: int | None = None) -> Iterator[list[Point]]:
        """Trains on, and yields one point for each slot wherever the curve has one.

        A point falls on every ``evaluate_every`` steps, on ``until``, and on the step at which the
        last trial still alive diverges. The first one of every ``diagnose_every`` steps and the
        last one also have diagnostics. Training may be dropped after any point and taken up
        again by another call, or from a checkpoint in another process.

        Args:
            until: step count at which to end; None for all of the steps.
        """
        until = min(until or self.steps, self.steps)
        every = self.trials[0].training.evaluate_every
        started, before = time.perf_counter(), self.step
        while self.step < until and not all(self.divergences):
            self._train_step()
            ended = self.step == until or all(self.divergences)
            if self.step % every == 0 or ended:
                speed = (self.step - before) / (time.perf_counter() - started)
                diagnose = self.trials[0].training.diagnose_every
                due = self.step == self.steps or self.step // diagnose > before // diagnose
                yield self._points(speed, diagnose=due)
                started, before = time.perf_counter(), self.step

    def test(self) -> list[dict[str, float]]:
        """Loss and metrics on the test set of each slot's weights that validated best."""
        current = {name: t.clone() for name, t in self.model.state_dict().items()}
        self.model.load_state_dict(self._best_weights)
        measured = evaluate(self.model, self.task, self._evaluation_set("test"))
        self.model.load_state_dict(current)
        return [
            {f"test/{name}": values[p].item() for name, values in measured.items()}
            for p in range(len(self.trials))
        ]

    def best_weights(self, slot: int) -> dict[str, Tensor]:
        """One slot's weights where they validated best, on the CPU, without the pack dimension."""
        return {name: t[slot].cpu().clone() for name, t in self._best_weights.items()}

    def checkpoint(self) -> dict[str, bytes]:
        """Everything that `restore` needs to go on bit for bit, as named files."""
        facts = {
            "step": self.step,
            "trials": [trial.dump() for trial in self.trials],
            "divergences": [one and vars(one) for one in self.divergences],
            "summed": self._summed,
            "best_step": self.best_step,
        }
        return write_checkpoint(facts, self._tensors())

    def restore(self, files: dict[str, bytes]) -> None:
        """Takes up the state of a checkpoint of the same trials.

        Raises:
            ValueError: the checkpoint is of other trials, or not one of ours.
        """
        facts, tensors = read_checkpoint(files, self._tensors())
        if facts["trials"] != [trial.dump() for trial in self.trials]:
            raise ValueError("the checkpoint belongs to another configuration")
        with torch.no_grad():
            for name, mine in self._tensors().items():
                mine.copy_(tensors[name])
        self.step, self._summed = facts["step"], facts["summed"]
        self.best_step = list(facts["best_step"])
        self.divergences = [one and Divergence(**one) for one in facts["divergences"]]

    def _tensors(self) -> dict[str, Tensor]:
        """The whole numeric state by name, not copied."""
        model = {f"model.{name}": t for name, t in self.model.state_dict().items()}
        best = {f"best.{name}": t for name, t in self._best_weights.items()}
        optimizer = {f"optimizer.{name}": t for name, t in self.optimizer.tensors().items()}
        return model | best | optimizer | {"sums": self._sums, "best_value": self.best_value}

    def _train_step(self) -> None:
        batch = Batch.stack(
            [
                self.task.training_batch(seed, self.step, trial.training.batch_size or 0)
                for seed, trial in zip(self._data_seeds, self.trials, strict=True)
            ]
        ).to(self.device)
        self.model.zero_grad()
        outputs = self.model(batch.inputs)
        losses = torch.stack(
            [self.task.loss(outputs[p], batch.targets[:, p]) for p in range(len(self.trials))]
        )
        penalty = self.model.cell.penalty()
        # The sum's gradient reaches each slot from its own loss alone.
        (losses if penalty is None else losses + penalty).sum().backward()
        norms = gradient_norms(self.model.parameters(), len(self.trials))
        self.step += 1
        self._watch(losses.detach().double(), norms)
        active = self._vector([one is None for one in self.divergences], torch.bool)
        scale = (self._clip / (norms + 1e-6)).clamp(max=1).float()
        self.optimizer.step(active, scale)
        self.model.cell.after_step()

    def _watch(self, losses: Tensor, norms: Tensor) -> None:
        self._sums += torch.stack([losses, norms])
        self._summed += 1
        exploded = losses > self._loss_limit
        if bool((torch.isfinite(losses) & torch.isfinite(norms) & ~exploded).all()):
            return
        for p, divergence in enumerate(self.divergences):
            reason = _reason(losses[p].item(), norms[p].item(), self._loss_limit[p].item())
            if divergence is None and reason is not None:
                self.divergences[p] = Divergence(self.step, reason)

    def _points(self, speed: float, *, diagnose: bool) -> list[Point]:
        loss, norm = (self._sums / self._summed).unbind()
        measured = {
            "train/loss": loss,
            "gradient/norm": norm,
            "speed/steps_per_second": torch.full_like(loss, speed),
        }
        self._sums.zero_()
        self._summed = 0
        if not all(self.divergences):
            valid = evaluate(self.model, self.task, self._validation)
            self._keep_best(valid["loss"])
            measured |= {f"valid/{name}": values for name, values in valid.items()}
            measured["valid/over_baseline"] = valid["loss"] / self.task.baseline
            penalty = self.model.cell.penalty()
            if penalty is not None:
                measured["recurrent/penalty"] = penalty.detach()
            if diagnose:
                measured |= self._diagnostics()
        return [
            Point(self.step, {name: values[p].item() for name, values in measured.items()})
            for p in range(len(self.trials))
        ]

    def _diagnostics(self) -> dict[str, Tensor]:
        flow = gradient_flow(self.model, self.task, self._validation.chunks[0])
        measured = {f"gradient/{name}": values for name, values in flow.items()}
        recurrent = self.model.cell.diagnostics()
        return measured | {f"recurrent/{name}": values for name, values in recurrent.items()}

    def _keep_best(self, losses: Tensor) -> None:
        alive = self._vector([one is None for one in self.divergences], torch.bool)
        better = alive & (losses < self.best_value)
        self.best_value.copy_(torch.where(better, losses, self.best_value))
        current = self.model.state_dict()
        for p in better.nonzero().flatten().tolist():
            self.best_step[p] = self.step
            for name, best in self._best_weights.items():
                best[p] = current[name][p]

    def _evaluation_set(self, split: str) -> EvaluationSet:
        training = self.trials[0].training
        size = training.validation_size if split == "validation" else training.test_size
        batch = self.task.evaluation_set("validation" if split == "validation" else "test", size)
        return EvaluationSet.cut(batch, self.model.cell.hidden_size, self.device)

    def _vector(self, values: Sequence[float], dtype: torch.dtype) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=self.device)


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
