"""How a space is searched: how many trials, who proposes them, who stops them, with what.

The classes behind the names of the two catalogues hold the settings alone; what they stand for is
made by the search driver. A sampler's settings are called as in Optuna.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from longhaul.spec.objectives import LOSS, OBJECTIVES, Objective
from longhaul_trainers.catalogue import Catalogue
from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import Settings, component, setting

_HERE = "longhaul.spec.search_settings"

SAMPLERS = Catalogue(
    "sampler",
    {
        "cmaes": f"{_HERE}:CMAESSettings",
        "gp": f"{_HERE}:GPSettings",
        "nsga2": f"{_HERE}:NSGA2Settings",
        "random": f"{_HERE}:RandomSettings",
        "tpe": f"{_HERE}:TPESettings",
    },
)

SCHEDULERS = Catalogue(
    "scheduler", {"asha": f"{_HERE}:ASHASettings", "full": f"{_HERE}:FullSettings"}
)


@dataclass(frozen=True, kw_only=True)
class SamplerSettings(Settings):
    """What every sampler has: nothing. Its seed derives from the search's."""


@dataclass(frozen=True, kw_only=True)
class TPESettings(SamplerSettings):
    """Tree-structured Parzen estimator (Bergstra et al. 2011, Falkner et al. 2018)."""

    name: ClassVar[str] = "tpe"
    startup_trials: int = setting(10, ge=0, help="random trials before the estimator decides")
    multivariate: bool = setting(True, help="model parameters jointly instead of one by one")
    group: bool = setting(
        True, help="model each branch's parameters apart; needs multivariate, wanted for branches"
    )

    def check(self) -> None:
        """See `Settings.check`."""
        if self.group and not self.multivariate:
            raise SettingError(
                "group", "found true with multivariate false; expected false, or multivariate true"
            )


@dataclass(frozen=True, kw_only=True)
class RandomSettings(SamplerSettings):
    """Independent draws from the space."""

    name: ClassVar[str] = "random"


@dataclass(frozen=True, kw_only=True)
class GPSettings(SamplerSettings):
    """Gaussian process with log expected improvement; good where trials are few and costly."""

    name: ClassVar[str] = "gp"
    startup_trials: int = setting(10, ge=1, help="random trials before the process decides")
    deterministic_objective: bool = setting(
        False, help="whether equal configurations are expected to give equal losses"
    )


@dataclass(frozen=True, kw_only=True)
class CMAESSettings(SamplerSettings):
    """Covariance matrix adaptation; numeric holes outside branches only, the rest is random."""

    name: ClassVar[str] = "cmaes"
    startup_trials: int = setting(1, ge=0, help="random trials before the strategy decides")
    popsize: int | None = setting(None, ge=2, help="trials in a generation; null: by rule")
    sigma0: float | None = setting(
        None, gt=0, help="first step size, as a part of the ranges' width; null: by rule"
    )


@dataclass(frozen=True, kw_only=True)
class NSGA2Settings(SamplerSettings):
    """Genetic algorithm (Deb et al. 2002), here with its single objective."""

    name: ClassVar[str] = "nsga2"
    population_size: int = setting(20, ge=2, help="trials in a generation")
    crossover_prob: float = setting(0.9, ge=0, le=1, help="children with two parents")
    mutation_prob: float | None = setting(
        None, ge=0, le=1, help="that a parameter is drawn anew; null: one in the number of them"
    )


@dataclass(frozen=True, kw_only=True)
class SchedulerSettings(Settings):
    """What every scheduler has."""

    def rungs(self, max_steps: int) -> list[int]:
        """The step counts at which trials are compared, ascending; ``max_steps`` is the last."""
        return [max_steps]


@dataclass(frozen=True, kw_only=True)
class ASHASettings(SchedulerSettings):
    """Asynchronous successive halving (Li et al. 2020, arXiv:1810.05934)."""

    name: ClassVar[str] = "asha"
    grace_steps: int | None = setting(
        None, ge=1, help="steps of every trial before the first comparison; null: steps / factor^2"
    )
    reduction_factor: int = setting(
        3,
        ge=2,
        le=8,
        help="one in this many goes on from a rung to the next, this many times later",
    )

    def rungs(self, max_steps: int) -> list[int]:
        """See `SchedulerSettings.rungs`: grace_steps * reduction_factor^k below max_steps."""
        # rounded up, or 100 steps would be compared at 99 and again at 100
        rung = self.grace_steps or -(-max_steps // self.reduction_factor**2)
        found = []
        while rung < max_steps:
            found.append(rung)
            rung *= self.reduction_factor
        return [*found, max_steps]


@dataclass(frozen=True, kw_only=True)
class FullSettings(SchedulerSettings):
    """Every trial runs all its steps."""

    name: ClassVar[str] = "full"


CHANGEABLE = ("trials", "parallel", "steps", "seconds", "gpu_hours", "max_failed_trials")
"""Settings of a search that may change while it runs: what is suggested does not depend on them."""


@dataclass(frozen=True, kw_only=True)
class SearchSettings(Settings):
    """The search itself."""

    trials: int = setting(16, ge=1, le=1_000_000, help="number of trials")
    seed: int = setting(0, ge=0, lt=2**63, help="master seed: of the sampler and of every trial")
    parallel: int | None = setting(
        None, ge=1, help="trials that run at once; null: as many as the resources allow"
    )
    order: Literal["arrival", "number"] = setting(
        "arrival",
        help="whose report is decided on first: whoever comes first; or number: as if all trials "
        "were equally fast, by steps done and trial number, so that two runs of the search are "
        "the same (needs parallel; costs waiting)",
    )
    sampler: SamplerSettings = component(
        SAMPLERS, TPESettings(), help="who proposes configurations"
    )
    scheduler: SchedulerSettings = component(
        SCHEDULERS, ASHASettings(), help="who stops trials early"
    )
    objective: Objective = component(
        OBJECTIVES, LOSS, help="what is minimised; a metric's name is short for that metric"
    )
    seconds: float | None = setting(
        None,
        gt=0,
        help="seconds after the first trial began in which others may begin; null: no limit. "
        "Those that run are trained to their end, and the time of an interruption does not count",
    )
    steps: int | None = setting(
        None,
        ge=1,
        help="training steps of all trials after which no other begins; null: no limit",
    )
    gpu_hours: float | None = setting(
        None,
        gt=0,
        help="hours of GPUs that trials or packs hold after which no other trial begins; null: no "
        "limit",
    )
    max_failed_trials: int = setting(
        8,
        ge=0,
        help="trials that may fail; one more ends the search. Diverged ones do not count",
    )
    retries: int = setting(1, ge=0, help="how often a trial that failed is run again")
    checkpoint_every_s: float = setting(60.0, gt=0, help="seconds between checkpoints of a trial")
    report_deadline_s: float | None = setting(
        None,
        gt=0,
        help="seconds without a point of its curve after which a trial hangs: its process is "
        "ended, and the trial is run again as one that failed; null: no limit",
    )

    def check(self) -> None:
        """An order by number needs to know how many trials run at once."""
        if self.order == "number" and self.parallel is None:
            message = "expected a number of trials that run at once, which order: number needs"
            raise SettingError("parallel", f"{message}; found null")


@dataclass(frozen=True, kw_only=True)
class ResourceSettings(Settings):
    """What one trial occupies, or one pack of trials where there are several slots."""

    cpus: float = setting(1.0, gt=0, help="processor cores")
    gpus: float = setting(0.0, ge=0, help="accelerators; below 1 for several on one")
    slots: int | Literal["auto"] = setting(
        1,
        ge=1,
        help="trials of a pack, which train as one batch; auto: as many as pay on the device",
    )
