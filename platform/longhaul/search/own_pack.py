"""A trial that trains in its own process, as a pack of one."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import safetensors.torch
import torch

from longhaul.search.training import Checkpoint, TrialOutcome
from longhaul_trainers.training.evaluation import Measure
from longhaul_trainers.training.model import SequenceModel
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.point import Divergence, Point
from longhaul_trainers.training.settings import TrialConfig
from longhaul_trainers.training.slot_state import SlotState


class OwnPack:
    """See `longhaul.search.training.Training`.

    Args:
        config: the trial's configuration as plain mappings.
        device: where to compute.
        checkpoint: where the trial stands; None where it begins.
    """

    def __init__(
        self, config: Mapping[str, Any], device: str, checkpoint: Checkpoint | None
    ) -> None:
        trial = TrialConfig.parse(dict(config))
        self._pack = Pack([trial], device, measure=_measure(trial, device))
        if checkpoint is not None:
            self._pack.restore(checkpoint)

    @property
    def divergence(self) -> Divergence | None:
        """How the trial diverged; None while it has not."""
        return self._pack.divergences[0]

    def train(
        self, until: int, checkpoint_every_s: float
    ) -> Iterator[tuple[Point, Checkpoint | None]]:
        """See `Training.train`."""
        saved = time.monotonic()
        for (point,) in self._pack.train(until):
            now = time.monotonic()
            ended = point.step == until
            if self.divergence is None and (ended or now - saved >= checkpoint_every_s):
                saved = now
                yield point, self._pack.checkpoint()
            else:
                yield point, None

    def outcome(self) -> TrialOutcome:
        """See `Training.outcome`."""
        return outcome(self._pack.slot_state(0), self._pack.measure, self._pack.test()[0])


_latest: dict[str, Measure] = {}


def _measure(trial: TrialConfig, device: str) -> Measure:
    """The fixed sets, made once for all trials of one structure that follow each other here."""
    key = f"{device} {trial.structure()!r}"
    if key not in _latest:
        _latest.clear()
        _latest[key] = Measure(trial, torch.device(device))
    return _latest[key]


def outcome(state: SlotState, measure: Measure, tested: Mapping[str, float]) -> TrialOutcome:
    """What a trial leaves in the end.

    Args:
        state: after its last step.
        measure: the task and its fixed sets.
        tested: loss and metrics on the test set.
    """
    best = {
        name.removeprefix("best."): tensor[0].cpu().clone()
        for name, tensor in state.tensors.items()
        if name.startswith("best.")
    }
    result = {
        "step": state.step,
        "valid/loss": state.best_loss,
        "best_step": state.best_step,
        "parameters": SequenceModel.parameter_count(measure.task, state.trial.cell),
        "baseline": measure.task.baseline,
        "data_sha256": measure.hashes,
    }
    return TrialOutcome(safetensors.torch.save(best), result | dict(tested))
