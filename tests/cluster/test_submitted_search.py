"""A search that is submitted to a real cluster: Ray's head and a worker, and all MLflow needs."""

import json
import subprocess
import sys

import pytest
from local_cluster import started

SPACE = """
task: {name: copying, delay: 5}
cell: {name: lstm, hidden_size: 8, forget_bias: {uniform: [0, 3]}}
training: {steps: 60, batch_size: 4, evaluate_every: 20, validation_size: 20, test_size: 20}
search: {trials: 3}
"""
COUNT = """
import mlflow
client = mlflow.MlflowClient()
runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
print(sum(run.data.tags.get("longhaul.trial", "") != "" for run in runs))
"""


@pytest.mark.ray
@pytest.mark.timeout(900)
def test_a_submitted_search_is_trained_told_and_reproduced(tmp_path):
    space = tmp_path / "space.yaml"
    space.write_text(SPACE, encoding="utf-8")
    with started("--workers", "1", "--cpus", "2") as cluster:
        words = ("submit", str(space), "--name", "submitted", "--json")
        assert json.loads(cluster.longhaul(*words).stdout)["begun"]
        assert "search submitted: completed" in cluster.longhaul("logs", "-f", "submitted").stdout
        again = cluster.here("reproduce", "submitted", "--json")
        assert json.loads(again.stdout)["verdict"] == "identical"
        counted = subprocess.run(
            ["bash", "-c", f'. {cluster.folder}/env; exec {sys.executable} -c "$0"', COUNT],
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert counted.stdout.strip() == "3", counted.stderr
