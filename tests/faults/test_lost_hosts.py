"""A pack host under Ray that dies or stands still, seen by a trial that trains in it."""

import os
import signal

import pytest

from longhaul.search.hosted_training import HostedTraining, Patience, describe_host

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

STEPS = 24
DEADLINE_S = 20.0
CONFIG = {
    "task": {"name": "copying", "delay": 5},
    "cell": {"name": "lstm", "hidden_size": 6},
    "training": {
        "steps": STEPS,
        "batch_size": 3,
        "evaluate_every": 4,
        "validation_size": 8,
        "test_size": 8,
        "optimizer": {"name": "sgd", "learning_rate": 3e-3},
    },
    "seed": 1,
}


@pytest.fixture
def host():
    """A host that tells its process number."""
    import ray

    from longhaul.search.host_actor import PackHostActor

    class Host(PackHostActor):
        def pid(self):
            return os.getpid()

    options = {"address": "local", "num_cpus": 1, "include_dashboard": False}
    path = os.environ.get("PYTHONPATH", "")
    ray.init(**options, logging_level="ERROR", runtime_env={"env_vars": {"PYTHONPATH": path}})
    try:
        actor = ray.remote(Host).options(num_cpus=1, max_restarts=-1, max_concurrency=8)
        yield actor.remote("cpu", 1, DEADLINE_S)
    finally:
        ray.shutdown()


@pytest.mark.fault("host", "a host killed, and then stopped, under one of its trials")
def test_its_trial_goes_on_from_its_checkpoint(host):
    import ray

    from longhaul.search.own_pack import OwnPack

    alive = []
    patience = Patience(DEADLINE_S, lambda: alive.append(None))
    describe_host(host, patience)
    training = HostedTraining(host, 0, CONFIG, None, patience)
    harm = {8: signal.SIGKILL, 16: signal.SIGSTOP}
    pids, points = [], {}
    for point, checkpoint in training.train(STEPS, 0.0):
        assert checkpoint is not None
        points.setdefault(point.step, point.metrics)
        if point.step in harm:
            pids.append(ray.get(host.pid.remote()))
            os.kill(pids[-1], harm.pop(point.step))
    pids.append(ray.get(host.pid.remote()))
    assert len(set(pids)) == 3
    assert training.outcome().result["step"] == STEPS
    assert not os.path.exists(f"/proc/{pids[1]}")
    expected = {p.step: p.metrics for p, _ in OwnPack(CONFIG, "cpu", None).train(STEPS, 1e9)}
    assert list(points) == list(expected)
    for step, metrics in points.items():
        untimed = {k: v for k, v in metrics.items() if k != "speed/steps_per_second"}
        assert untimed == {k: expected[step][k] for k in untimed}
    assert alive
