"""How far MLflow is behind the ledger: a small file in the search's folder."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from longhaul.ledger import Storage

FILE = "tracking.json"
FORMAT = 1


@dataclass(frozen=True)
class Lag:
    """What MLflow does not have yet, as the background writer last saw it.

    Attributes:
        events: events of the ledger that are not wholly in MLflow yet.
        trials: trials with something undelivered.
        undeliverable: trials that MLflow refused for good, with the reason.
        skipped: trials whose run somebody deleted in MLflow; they are left alone.
        error: the last problem, while it lasts; None when all is well.
        time: when this was written, UTC.
        through: the last event that is wholly in MLflow; -1 if none is.
        experiment_id, parent_run_id: where the search is shown, None while unknown.
    """

    events: int
    trials: int
    undeliverable: dict[int, str]
    skipped: int
    error: str | None
    time: datetime
    through: int = -1
    experiment_id: str | None = None
    parent_run_id: str | None = None

    @property
    def delivered(self) -> bool:
        """Whether MLflow has all that it will ever take."""
        return self.events == 0 and self.trials == 0 and not self.undeliverable

    def write(self, search: "Storage") -> None:
        """Replaces the file in the search's own part of the storage."""
        data = asdict(self) | {"format": FORMAT, "time": self.time.isoformat()}
        search.write(FILE, json.dumps(data, indent=1).encode())

    @classmethod
    def read(cls, search: "Storage") -> Self | None:
        """The file there; None if there is none, or none that can be read."""
        try:
            data = json.loads(search.read(FILE))
            if data.pop("format") != FORMAT:
                return None
            data["time"] = datetime.fromisoformat(data["time"]).astimezone(UTC)
            data["undeliverable"] = {int(k): v for k, v in data["undeliverable"].items()}
            return cls(**data)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    @classmethod
    def unknown(cls, events: int, error: str) -> Self:
        """The lag of a search whose background writer has not said anything."""
        return cls(events, 0, {}, 0, error, datetime.now(UTC))
