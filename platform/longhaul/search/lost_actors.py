"""Ray's manager of a search's actors, made to survive every way of losing one."""

from typing import Any

from ray.air.execution._internal import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError


class LossTolerantActorManager(RayActorManager):
    """Takes an actor that Ray ended, for whatever reason, as one that died.

    Differs from Ray's: that one knows the death of an actor and an exception of its task, and calls
    everything else unexpected, which ends the whole search. Among that is what Ray raises where it
    ended the actor because the machine ran out of memory.
    """

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        known = isinstance(exception, RayActorError | RayTaskError)
        if isinstance(exception, RayError) and not known:
            exception = RayActorError(error_msg=_words(exception))
        super()._actor_task_failed(tracked_actor_task, exception)


def survive_losses() -> None:
    """Has Tune's controllers of this process use `LossTolerantActorManager`."""
    # imported here: Tune, of which the worker needs another part
    from ray.tune.execution import tune_controller

    tune_controller.RayActorManager = LossTolerantActorManager  # type: ignore[attr-defined]


def _words(error: RayError) -> str:
    """The first line: Ray goes on with advice on its own settings, to the length of a page."""
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"
