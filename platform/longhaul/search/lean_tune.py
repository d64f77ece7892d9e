"""Tune without what no search needs, though each would wait for it at its start."""

from ray.air._internal import usage
from ray.tune.execution import class_cache


def trim_tune() -> None:
    """Has Tune, in this process, leave out two things.

    It would describe an environment for the trials' processes, with the AWS credentials of this
    one, which Ray writes to its logs. None of the processes that Ray has started ahead has such an
    environment, so each would be started anew, and twice over: 2 s of a core. On this machine
    processes inherit the environment as it is; the nodes of a cluster have one of their own.

    It would count callbacks by kind for Ray's usage reports, which are off, and import MLflow to
    know its own: 1 s.
    """
    class_cache.DEFAULT_ENV_VARS = {}
    class_cache.ENV_VARS_TO_PROPAGATE = set()
    usage.tag_callbacks = _counts_none


def _counts_none(callbacks: object) -> bool:
    return False
