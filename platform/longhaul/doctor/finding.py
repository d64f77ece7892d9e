"""One thing that the doctor looked at."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How it stands."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What was looked at and how it stands.

    Attributes:
        part: client, storage, tracking, cluster, compiler, gpu, clock or data.
        level: a problem keeps searches from running; a warning makes them slower or less safe.
        message: one line.
        fix: what to do; empty where there is nothing to do.
    """

    part: str
    level: Level
    message: str
    fix: str = ""


Check = Callable[[], Iterator[Finding]]


def ok(part: str, message: str) -> Finding:
    """It is as it should be."""
    return Finding(part, Level.OK, message)


def warning(part: str, message: str, fix: str) -> Finding:
    """Searches run, but slower or less safely than they could."""
    return Finding(part, Level.WARNING, message, fix)


def problem(part: str, message: str, fix: str) -> Finding:
    """Searches do not run."""
    return Finding(part, Level.PROBLEM, message, fix)
