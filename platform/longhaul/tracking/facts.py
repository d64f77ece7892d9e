"""What never changes about a search, read from its ledger once."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Self

from longhaul.spec.loading import read_text

if TYPE_CHECKING:
    from longhaul.ledger import Event, Ledger


@dataclass(frozen=True)
class SearchFacts:
    """The facts.

    Attributes:
        name: of the search.
        identity: tells this search from another one of the same name: made of its first event.
        user: who runs the search, empty if unknown.
        started: the time of the first event, UTC.
        task: the task's part of the specification.
        spec_sha256: of the specification as it was resolved.
    """

    name: str
    identity: str
    user: str
    started: datetime
    task: dict[str, Any]
    spec_sha256: str

    @classmethod
    def of(cls, ledger: "Ledger", first: "Event") -> Self:
        """The facts of a search whose first event is ``first``.

        Raises:
            RequestError: its specification is no YAML that is read here.
        """
        text = ledger.spec_text()
        spec = read_text(text, f"{ledger.name}/spec.yaml").value
        task = spec.get("task") if isinstance(spec, dict) else None
        if not isinstance(task, dict):
            task = {"name": str(task or "longhaul")}
        lease = ledger.lease()
        first_words = f"{ledger.name} {first.time.isoformat()} {first.data}"
        return cls(
            name=ledger.name,
            identity=sha256(first_words.encode()).hexdigest()[:16],
            user=lease.owner.user if lease is not None and lease.owner is not None else "",
            started=first.time,
            task=task,
            spec_sha256=sha256(text.encode()).hexdigest(),
        )

    @property
    def experiment(self) -> str:
        """MLflow's experiment: the name of the task."""
        return str(self.task.get("name") or "longhaul")
