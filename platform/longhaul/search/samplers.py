"""Optuna's samplers from their settings."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from longhaul_trainers.settings import Settings, dump

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

KEEPS_STATE = ("cmaes", "nsga2")
"""Samplers whose own state lies in the study, beside the trials."""


def build_sampler(settings: Settings, seed: int) -> "BaseSampler":
    """A fresh sampler.

    Args:
        settings: an entry of the samplers' catalogue.
        seed: of its random numbers, in [0, 2^32).
    """
    # imported here: 1 s
    from optuna import samplers
    from optuna.exceptions import ExperimentalWarning

    given = dump(settings)
    types: dict[str, Callable[..., BaseSampler]] = {
        "cmaes": samplers.CmaEsSampler,
        "gp": samplers.GPSampler,
        "nsga2": samplers.NSGAIISampler,
        "random": samplers.RandomSampler,
        "tpe": samplers.TPESampler,
    }
    sampler = types[given.pop("name")]
    if "startup_trials" in given:
        given["n_startup_trials"] = given.pop("startup_trials")
    with warnings.catch_warnings():
        # The group option of TPE is marked experimental; it is what a space with branches needs.
        warnings.simplefilter("ignore", ExperimentalWarning)
        return sampler(seed=seed, **given)
