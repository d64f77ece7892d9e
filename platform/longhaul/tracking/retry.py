"""Which failures of a tracking server pass, and how long to wait for it."""

import random
from dataclasses import dataclass, field

# What MLflow answers when a request will never succeed, however often it is sent. Everything else
# (no connection, time-outs, 5xx, 429, a locked database, a wrong password) can be mended outside.
PERMANENT_CODES = frozenset(
    {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE", "BAD_REQUEST"}
)


def is_permanent(error: BaseException) -> bool:
    """Whether sending the same again is in vain, as far as the error alone can tell."""
    return getattr(error, "error_code", None) in PERMANENT_CODES


@dataclass
class Backoff:
    """Waiting times that double after each failure and start afresh after a success.

    Attributes:
        first_s, cap_s: shortest and longest wait, seconds.
    """

    first_s: float = 0.5
    cap_s: float = 30.0
    _failures: int = field(default=0, init=False)

    def next_s(self) -> float:
        """How long to wait now, seconds: between half and all of the doubled time."""
        wait_s = min(self.cap_s, self.first_s * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return wait_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards no secret

    def reset(self) -> None:
        """To be called after a success."""
        self._failures = 0
