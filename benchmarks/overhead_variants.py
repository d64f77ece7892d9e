"""The searches that overhead.py compares, each in a process of its own.

    python overhead_variants.py longhaul|plain|plain-fast SPACE.yaml

Works in the current folder: mlflow.db becomes MLflow's database, driver.json gets the times.
"""

import json
import os
import resource
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longhaul.spec.search_spec import SearchSpec
    from longhaul_trainers.training.pack import Pack

RUNGS = 3
"""How often a trial reports."""

Stamps = dict[str, tuple[float, float]]
"""Wall and processor time of the driver, by name of the moment."""


def rungs(steps: int) -> list[int]:
    """The step counts at which trials report."""
    return [steps * number // RUNGS for number in range(1, RUNGS + 1)]


def processor_s() -> float:
    """Processor time of this process with all its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def stamped(callback: type, stamps: Stamps) -> type:
    """A Tune callback that also notes when the first trial starts and the last one ends."""

    class Stamped(callback):  # type: ignore[misc]
        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            stamps.setdefault("first", (time.perf_counter(), processor_s()))
            super().on_trial_start(iteration, trials, trial, **info)

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            super().on_trial_complete(iteration, trials, trial, **info)
            stamps["last"] = time.perf_counter(), processor_s()

        def __getstate__(self) -> dict[str, Any]:
            return {}

    return Stamped


def search_longhaul(space: Path, stamps: Stamps) -> None:
    """`longhaul search`, which without early stopping would report once a trial, at its end."""
    from longhaul.cli.main import main
    from longhaul.search import searcher
    from longhaul.spec.search_settings import FullSettings

    searcher.StartedTrials = stamped(searcher.StartedTrials, stamps)  # type: ignore[misc,assignment]
    FullSettings.rungs = lambda _, max_steps: rungs(max_steps)  # type: ignore[method-assign,assignment]
    options = ["--storage", "runs", "--tracking-uri", "sqlite:///mlflow.db"]
    main(["search", str(space), *options], standalone_mode=False)


def new_pack(config: dict[str, Any]) -> "Pack":
    """A trial of its own, ready to train."""
    import torch

    from longhaul_trainers.training.pack import Pack
    from longhaul_trainers.training.settings import TrialConfig

    torch.set_num_threads(1)
    keys = ("task", "cell", "training", "seed")
    return Pack([TrialConfig.parse({key: config[key] for key in keys})])


def train_to(pack: "Pack", rung: int) -> dict[str, float]:
    """Trains up to a rung; what is reported there, at the end with the test measurements."""
    metrics: dict[str, float] = {}
    for (point,) in pack.train(rung):
        metrics = dict(point.metrics)
    return metrics | (pack.test()[0] if rung == pack.steps else {})


def train_function(config: dict[str, Any]) -> None:
    """The function trainable of Tune's documentation."""
    from ray import tune

    pack = new_pack(config)
    for rung in rungs(pack.steps):
        tune.report(train_to(pack, rung))


def trainable_class() -> type:
    """The class trainable of Tune's documentation, whose process can be reused."""
    from ray import tune

    class Trial(tune.Trainable):
        def setup(  # type: ignore[override]  # tune.with_parameters adds the second argument
            self, config: dict[str, Any], spec: "SearchSpec"
        ) -> None:
            self.spec = spec
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            params = {key: value for key, value in new_config.items() if key != "number"}
            self.pack = new_pack(self.spec.recorded_trial(params, new_config["number"]))
            return True

        def step(self) -> dict[str, Any]:
            rung = next(rung for rung in rungs(self.pack.steps) if rung > self.pack.step)
            return train_to(self.pack, rung) | {"done": rung == self.pack.steps}

    return Trial


def suggest(spec: "SearchSpec", whole: bool, trial: Any) -> dict[str, Any]:
    """A define-by-run function of OptunaSearch.

    Its answer joins the searched parameters in Tune's configuration, all of which Tune repeats in
    every result: the whole trial, or its number, which is enough to make the rest.
    """
    from longhaul.spec.holes import suggest_from

    config = spec.trial(suggest_from(trial), trial.number)
    return config if whole else {"number": trial.number}


def search_plain(space: Path, stamps: Stamps, *, fast: bool) -> None:
    """Ray Tune, OptunaSearch and MLflowLoggerCallback as their documentation shows them.

    Args:
        space: what to search, in Longhaul's format.
        stamps: gets the times.
        fast: whether to reuse processes, to print and log nothing but what goes to MLflow, and to
            keep what is the same for all trials out of MLflow.
    """
    if fast:
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.search.optuna import OptunaSearch

    from longhaul.spec.search_spec import SearchSpec

    spec = SearchSpec.load(str(space))
    ray.init(address="local", num_cpus=len(os.sched_getaffinity(0)), include_dashboard=False)
    to_mlflow = MLflowLoggerCallback(tracking_uri="sqlite:///mlflow.db", experiment_name="plain")
    quick: dict[str, Any] = {
        "verbose": 0,
        "checkpoint_config": tune.CheckpointConfig(checkpoint_at_end=False),
    }
    trainable: Any = train_function
    if fast:
        trainable = tune.with_parameters(trainable_class(), spec=spec)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(
                partial(suggest, spec, not fast),
                metric="valid/loss",
                mode="min",
                seed=spec.search.seed,
            ),
            num_samples=spec.search.trials,
            max_concurrent_trials=spec.search.parallel,
            reuse_actors=fast,
        ),
        run_config=tune.RunConfig(
            storage_path=str(Path("ray-results").absolute()),
            callbacks=[to_mlflow, stamped(tune.Callback, stamps)()],
            **(quick if fast else {}),
        ),
    )
    if tuner.fit().errors:
        raise RuntimeError("trials failed")
    ray.shutdown()


def main(variant: str, space: str) -> None:
    """One search, measured."""
    stamps: Stamps = {}
    if variant == "longhaul":
        search_longhaul(Path(space), stamps)
    else:
        search_plain(Path(space), stamps, fast=variant == "plain-fast")
    wall_s, used_s = (stamps["last"][one] - stamps["first"][one] for one in (0, 1))
    measured = {"search_s": wall_s, "driver_search_s": used_s, "driver_s": processor_s()}
    Path("driver.json").write_text(json.dumps(measured), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
