"""The class that Ray Tune runs on a worker; one step of it trains a trial up to its next rung."""

import math
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ray import tune

from longhaul.ledger import Ledger, StorageFullError
from longhaul.search.guardian import Guardian
from longhaul.search.training import Checkpoint, Training
from longhaul.search.trial_run import Report, TrialRun
from longhaul.search.turnstile import pass_through
from longhaul.spec.objectives import LOSS, Objective


@dataclass(frozen=True)
class Assignment:
    """What all trials of a search have in common.

    Attributes:
        ledger: where to write.
        fence: fencing number of the driver's lease.
        rungs: ascending step counts at which to report.
        checkpoint_every_s: seconds between checkpoints besides those at rungs.
        threads: threads for one trial's arithmetic.
        device: ``cpu`` or ``cuda``.
        objective: what the search minimises.
        hosts: actors in whose packs the trials train; without any, each trains by itself.
        turnstile: the actor at which reports wait for their turn; None where they do not.
        report_deadline_s: seconds without a point after which a trial hangs; None: it may.
    """

    ledger: Ledger
    fence: int
    rungs: tuple[int, ...]
    checkpoint_every_s: float
    threads: int
    device: str
    objective: Objective = LOSS
    hosts: tuple[Any, ...] = ()
    turnstile: Any = None
    report_deadline_s: float | None = None


class CellTrial(tune.Trainable):
    """Adapts `TrialRun` to Tune.

    A process is reused for one trial after another: starting one and importing torch costs
    seconds, more than many a trial's first rung. Where a pack host does the training, this one
    never imports torch: it waits, and writes to the ledger.
    """

    def setup(  # type: ignore[override]  # tune.with_parameters adds the second argument
        self, config: dict[str, Any], assignment: Assignment
    ) -> None:
        """Starts the first trial of this process."""
        if not assignment.hosts:
            # imported here: 2 s, in the worker only
            import torch

            torch.set_num_threads(assignment.threads)
        self._assignment = assignment
        deadline_s = assignment.report_deadline_s
        self._guardian = Guardian(assignment.ledger, deadline_s) if deadline_s else None
        self._trial_run: TrialRun | None = None
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Starts another trial in the same process."""
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Trains up to the next rung."""
        try:
            report = self._advance()
            if self._assignment.turnstile is not None:
                pass_through(self._assignment.turnstile, self._trial["number"], report.step)
        except StorageFullError as error:
            # Not the trial's fault, and its next try would fare no better.
            return {"step": 0, "value": math.inf, "done": True, "full": str(error)}
        except Exception:
            self._folder.write_error(traceback.format_exc())
            raise
        return {
            "step": report.step,
            "value": report.value,
            "done": report.done,
            "diverged": report.diverged,
            "full": None,
        }

    def cleanup(self) -> None:
        """Ends the guardian; it would notice by itself, too."""
        if self._guardian is not None:
            self._guardian.close()

    def _advance(self) -> Report:
        self._alive()
        try:
            if self._trial_run is None:
                self._trial_run = self._start()
            return self._trial_run.advance()
        finally:
            if self._guardian is not None:
                self._guardian.rest()

    def _alive(self) -> None:
        if self._guardian is not None:
            self._guardian.alive(self._trial["number"])

    def _begin(self, config: dict[str, Any]) -> None:
        self._trial = config
        self._folder = self._assignment.ledger.trial(config["number"])
        # Built on the first step: an error there is the trial's, one here would be the actor's.
        self._trial_run = None

    def _start(self) -> TrialRun:
        assignment, trial = self._assignment, self._trial
        begin = self._begin_hosted() if assignment.hosts else self._begin_alone()
        return TrialRun(
            self._folder,
            begin,
            assignment.rungs,
            heard=trial["heard"],
            fence=assignment.fence,
            checkpoint_every_s=assignment.checkpoint_every_s,
            objective=assignment.objective,
            batch_size=trial["config"]["training"]["batch_size"],
            alive=self._alive,
        )

    def _begin_alone(self) -> Callable[[Checkpoint | None], Training]:
        from longhaul.environment import capture
        from longhaul.search.own_pack import OwnPack

        device, config = self._assignment.device, self._trial["config"]
        environment = capture(device, self._assignment.threads)
        self._folder.write_environment(environment | {"node": os.uname().nodename})
        return lambda checkpoint: OwnPack(config, device, checkpoint)

    def _begin_hosted(self) -> Callable[[Checkpoint | None], Training]:
        from longhaul.search.hosted_training import HostedTraining, Patience, describe_host

        trial = self._trial
        host = self._assignment.hosts[trial["host"]]
        patience = Patience(self._assignment.report_deadline_s, self._alive)
        self._folder.write_environment(describe_host(host, patience) | {"host": trial["host"]})
        return lambda checkpoint: HostedTraining(
            host, trial["number"], trial["config"], checkpoint, patience
        )
