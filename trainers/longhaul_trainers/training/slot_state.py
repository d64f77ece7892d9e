"""The whole state of one trial, wherever it trains: alone, or in a slot of some pack."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from torch import Tensor

from longhaul_trainers.training.checkpoint import read_checkpoint, write_checkpoint
from longhaul_trainers.training.point import Divergence
from longhaul_trainers.training.settings import TrialConfig


@dataclass(frozen=True)
class SlotState:
    """One trial between two training steps.

    Attributes:
        trial: its configuration.
        step: training steps done.
        last_point: step of the last point of its curve, or at which it was taken up.
        summed: steps that the running means hold.
        best_step: step of the weights that validated best; 0 before any did.
        best_loss: their validation loss.
        divergence: how it diverged; None while it has not.
        tensors: the numeric state of a pack of one, by name.
    """

    trial: TrialConfig
    step: int
    last_point: int
    summed: int
    best_step: int
    best_loss: float
    divergence: Divergence | None
    tensors: Mapping[str, Tensor]

    def checkpoint(self) -> dict[str, bytes]:
        """Everything that is needed to go on bit for bit, as named files."""
        facts = {
            "step": self.step,
            "last_point": self.last_point,
            "trials": [self.trial.dump()],
            "divergences": [self.divergence and vars(self.divergence)],
            "summed": self.summed,
            "best_step": [self.best_step],
            "best_loss": [self.best_loss],
        }
        return write_checkpoint(facts, self.tensors)

    @classmethod
    def from_checkpoint(cls, files: Mapping[str, bytes]) -> Self:
        """The state that `checkpoint` kept.

        Raises:
            ValueError: a file is missing or damaged, or it is no checkpoint of ours.
        """
        facts, tensors = read_checkpoint(files)
        try:
            (trial,), (best_step,), (divergence,) = (
                facts[name] for name in ("trials", "best_step", "divergences")
            )
            # before there was anything but the loss to choose by, it was the best value itself
            best_loss = facts.get("best_loss", tensors["best_value"].tolist())[0]
            return cls(
                trial=TrialConfig.parse(trial),
                step=facts["step"],
                last_point=facts.get("last_point", facts["step"]),
                summed=facts["summed"],
                best_step=best_step,
                best_loss=best_loss,
                divergence=divergence and Divergence(**divergence),
                tensors=tensors,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the checkpoint is not of one trial: {error!r}") from error
