"""Tune's own bookkeeping of actors, without Ray running: which losses end a whole search."""

from types import SimpleNamespace

import pytest
from ray.air.execution._internal import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, WorkerCrashedError

from longhaul.search.lost_actors import LossTolerantActorManager, survive_losses


def lose(manager_type, error):
    """What the actor and its task are told when the task fails so."""
    manager = manager_type.__new__(manager_type)
    manager._failed_actor_ids = set()
    manager._cleanup_actor = lambda tracked_actor: None
    told = []
    note = SimpleNamespace(_on_error=lambda _, exception: told.append(exception), actor_id=1)
    manager._actor_task_failed(
        SimpleNamespace(_tracked_actor=note, _on_error=note._on_error), error
    )
    return told


@pytest.mark.fault("oom", "Ray ends the process of a trial because memory runs out")
@pytest.mark.parametrize("error", [OutOfMemoryError("ran low\nadvice"), WorkerCrashedError()])
def test_a_process_that_ray_ended_counts_as_one_that_died(error):
    told = lose(LossTolerantActorManager, error)
    assert [type(one) for one in told] == [RayActorError] * 2
    assert type(error).__name__ in str(told[0])
    assert "advice" not in str(told[0])


def test_rays_own_gives_the_search_up():
    """Once this fails, `LossTolerantActorManager` is not needed any more."""
    with pytest.raises(RuntimeError, match="unexpected"):
        lose(RayActorManager, OutOfMemoryError("ran low"))


def test_an_exception_of_the_drivers_own_is_none_of_it():
    with pytest.raises(RuntimeError, match="unexpected"):
        lose(LossTolerantActorManager, ValueError("a mistake"))


def test_tune_uses_it(monkeypatch):
    from ray.tune.execution import tune_controller

    monkeypatch.setattr(tune_controller, "RayActorManager", RayActorManager)
    survive_losses()
    assert tune_controller.RayActorManager is LossTolerantActorManager
