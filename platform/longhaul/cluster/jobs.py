"""The jobs of a cluster that belong to searches."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

SEARCH, SPEC, STORAGE, TRACKING, CODE = (
    f"longhaul.{name}" for name in ("search", "spec", "storage", "tracking", "code")
)
"""What a job's metadata hold: the search's name, its resolved space, what was said of storage and
tracking, and the wheels that were uploaded."""

ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
_BETWEEN = "~"
"""Between a search's name, which cannot hold it, and the number of a further job of it."""
_REFUSED_STATUS = 2
_NEVER_BEGAN = (
    "RUNTIME_ENV_SETUP_FAILURE",
    "JOB_SUPERVISOR_ACTOR_START_TIMEOUT",
    "JOB_SUPERVISOR_ACTOR_START_FAILURE",
    "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE",
    "JOB_ENTRYPOINT_COMMAND_START_ERROR",
)


@dataclass(frozen=True)
class Job:
    """One run of a driver on a cluster.

    Attributes:
        id: Ray's submission id.
        status: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED.
        message: Ray's words for it.
        submitted_ms: when it was submitted, milliseconds since 1970.
        exit_status: of the driver; None while it runs, or where it never ran.
        error: Ray's name for what went wrong; None where nothing did.
        metadata: what was said of it when it was submitted.
        folder: its working directory as the cluster names it.
    """

    id: str
    status: str
    message: str = ""
    submitted_ms: int = 0
    exit_status: int | None = None
    error: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    folder: str | None = None

    @classmethod
    def of(cls, details: Any) -> "Job":
        """From what Ray's client returns."""
        return cls(
            id=str(details.submission_id),
            status=str(details.status.value),
            message=details.message or "",
            submitted_ms=details.start_time or 0,
            exit_status=details.driver_exit_code,
            error=details.error_type,
            metadata=dict(details.metadata or {}),
            folder=(details.runtime_env or {}).get("working_dir"),
        )

    @property
    def search(self) -> str | None:
        """The search that it runs, None if it is none of ours."""
        return self.metadata.get(SEARCH)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in ENDED

    @property
    def refused(self) -> bool:
        """Whether it ended before the search had begun: the request was wrong, or the cluster."""
        return self.status == "FAILED" and (
            self.exit_status == _REFUSED_STATUS or self.error in _NEVER_BEGAN
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "id": self.id,
            "status": self.status,
            "submitted": datetime.fromtimestamp(self.submitted_ms / 1000, UTC),
            "exit_status": self.exit_status,
        }


def of_search(jobs: Iterable[Job], name: str) -> list[Job]:
    """The jobs of a search, oldest first."""
    return [one for one in jobs if one.search == name]


def current(jobs: Iterable[Job]) -> Job | None:
    """The job that tells how a search stands: the last one that was not refused, or the last."""
    known = list(jobs)
    began = [one for one in known if not one.refused] or known
    return began[-1] if began else None


def fresh_id(jobs: Iterable[Job], name: str) -> str:
    """An id for the next job of a search: its name, which Ray takes once, then with numbers."""
    taken = {one.id for one in jobs}
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}{_BETWEEN}{number}"
    return candidate
