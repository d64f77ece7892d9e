"""Ray Tune with OptunaSearch and MLflowLoggerCallback, as their documentations show them.

    python plain_breakable.py SETTINGS.json

What `plain_faults.py` breaks. Works in the current folder: `ray-results/plain` becomes Ray's, and
each trial adds a line to `truth.jsonl` after every report that was taken from it.
"""

import json
import math
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def train(config: dict[str, Any]) -> None:
    """The function trainable: waits, saves a checkpoint, and reports."""
    from ray import tune

    folder, step = Path(config["folder"]), 0
    saved = tune.get_checkpoint()
    if saved:
        with saved.as_directory() as path:
            step = int((Path(path) / "step").read_text("utf-8"))
    me = tune.get_context().get_trial_id()
    while step < config["steps"]:
        time.sleep(config["wait_s"])
        while (folder / "hang").exists() and (folder / "hang").read_text("utf-8") in (me, ""):
            (folder / "hang").write_text(me, "utf-8")
            time.sleep(0.2)
        if (folder / "swallow").exists():
            (folder / "swallow").unlink()
            swallowed = bytearray(6 * 2**30)
            swallowed[:: 2**12] = bytes([1]) * (6 * 2**18)
            time.sleep(3600)
        step += 1
        value = config["x"] / step
        if config["nan"] and config["x"] > 0.9:
            value = math.nan
        with tempfile.TemporaryDirectory() as path:
            (Path(path) / "step").write_text(str(step), "utf-8")
            point = {"value": value, "step": step}
            tune.report(point, checkpoint=tune.Checkpoint.from_directory(path))
        line = json.dumps({"trial": me, "step": step, "x": config["x"], "pid": os.getpid()})
        descriptor = os.open(folder / "truth.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{line}\n".encode())
        os.close(descriptor)


def search(given: dict[str, Any]) -> dict[str, Any]:
    """Runs or restores it; what Ray says of its trials in the end."""
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    local = {"num_cpus": given["parallel"], "include_dashboard": False}
    ray.init(given["address"], **(local if given["address"] == "local" else {}))
    storage = given["storage"]
    trainable = tune.with_resources(train, {"cpu": 1})
    if given["restore"]:
        tuner = tune.Tuner.restore(f"{storage}/plain", trainable, resume_unfinished=True)
    else:
        scheduler = ASHAScheduler(time_attr="step", max_t=given["steps"], grace_period=2)
        common = {name: given[name] for name in ("steps", "wait_s", "nan")}
        points = [{"x": 0.95}] if given["nan"] else None
        tuner = tune.Tuner(
            trainable,
            param_space={"x": tune.uniform(0, 1), "folder": os.getcwd(), **common},
            tune_config=tune.TuneConfig(
                metric="value",
                mode="min",
                search_alg=OptunaSearch(seed=0, points_to_evaluate=points),
                scheduler=scheduler if given["nan"] else None,
                num_samples=given["trials"],
                max_concurrent_trials=given["parallel"],
            ),
            run_config=tune.RunConfig(
                storage_path=storage,
                name="plain",
                callbacks=[MLflowLoggerCallback(given["tracking_uri"], experiment_name="plain")],
                failure_config=tune.FailureConfig(max_failures=given["max_failures"]),
                verbose=0,
            ),
        )
    results = tuner.fit()
    states = [trial.status for trial in results._experiment_analysis.trials]
    ray.shutdown()
    return {"trials": len(states), "states": states}


if __name__ == "__main__":
    said = search(json.loads(Path(sys.argv[1]).read_text("utf-8")))
    Path("said.json").write_text(json.dumps(said), "utf-8")
