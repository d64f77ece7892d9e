"""A search as the documentations of Ray Tune, Optuna and MLflow show it, over the plain loop.

    python plain_search.py TRIALS.json

Ray Tune with OptunaSearch, ASHA and MLflowLoggerCallback; a process for each trial. The file holds
what another search tried and how long it trained each trial: Optuna is asked for those points, and
ASHA, which decides as it always does, is overruled, so that both searches train the same. Works in
the current folder; mlflow.db becomes MLflow's database.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))


def train(config: dict[str, Any]) -> None:
    """The function trainable: one trial of the copying task, reported at every rung."""
    sys.path.insert(0, config["folder"])
    import torch
    from ray import tune
    from torch.nn.functional import cross_entropy

    from longhaul_trainers.catalogue import TASKS
    from longhaul_trainers.settings import parse_component
    from plain_loop import PlainLoop, train_step

    torch.set_num_threads(1)
    torch.manual_seed(config["seed"])
    # the task's data is drawn by the same code as Longhaul's, so that it costs both the same
    task = TASKS.get("copying")(parse_component(TASKS, config["task"], "task"))
    model = PlainLoop(task.input_size, config["hidden"], task.output_size)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=config["learning_rate"], alpha=0.9)
    validation = task.evaluation_set("validation", config["validation_size"])
    lowest = float("inf")
    for step in range(config["rungs"][-1]):
        batch = task.training_batch(config["seed"], step, config["batch"])
        train_step(model, optimizer, batch.inputs, batch.targets)
        if (step + 1) % config["evaluate_every"] == 0 or step + 1 in config["rungs"]:
            with torch.no_grad():
                logits = model(validation.inputs).flatten(0, 1)
                loss = cross_entropy(logits, validation.targets.flatten()).item()
            lowest = min(lowest, loss)
        if step + 1 in config["rungs"]:
            tune.report({"value": lowest, "step": step + 1})


def search(given: dict[str, Any]) -> None:
    """Runs it."""
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.schedulers import ASHAScheduler, TrialScheduler
    from ray.tune.search.optuna import OptunaSearch

    common = {k: v for k, v in given.items() if k not in ("trials", "parallel", "reduction_factor")}
    rungs: list[int] = given["rungs"]
    last_steps = {one["learning_rate"]: one["steps"] for one in given["trials"]}

    class SameStops(ASHAScheduler):
        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
            super().on_trial_result(tune_controller, trial, result)
            stop = result["step"] >= last_steps[trial.config["learning_rate"]]
            return TrialScheduler.STOP if stop else TrialScheduler.CONTINUE

    space = {"learning_rate": tune.loguniform(1e-9, 1e3), **common, "folder": sys.path[0]}
    points = [{"learning_rate": one["learning_rate"]} for one in given["trials"]]
    ray.init(address="local", num_cpus=len(os.sched_getaffinity(0)), include_dashboard=False)
    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(metric="value", mode="min", points_to_evaluate=points),
            scheduler=SameStops(
                time_attr="step",
                metric="value",
                mode="min",
                max_t=rungs[-1],
                grace_period=rungs[0],
                reduction_factor=given["reduction_factor"],
            ),
            num_samples=len(points),
            max_concurrent_trials=given["parallel"],
        ),
        run_config=tune.RunConfig(
            storage_path=str(Path("ray-results").absolute()),
            callbacks=[MLflowLoggerCallback("sqlite:///mlflow.db", experiment_name="plain")],
        ),
    )
    results = tuner.fit()
    if results.errors:
        raise RuntimeError(f"trials failed: {results.errors[0]}")
    last = [results[i].metrics for i in range(len(results))]
    trained = sum(metrics["step"] for metrics in last if metrics)
    Path("plain.json").write_text(json.dumps({"steps": trained, "trials": len(results)}), "utf-8")
    ray.shutdown()


if __name__ == "__main__":
    search(json.loads(Path(sys.argv[1]).read_text("utf-8")))
