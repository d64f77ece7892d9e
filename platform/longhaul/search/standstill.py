"""Notices what keeps a search from going on: nothing runs, or the cluster is gone."""

import socket
import time
from collections.abc import Callable

STANDSTILL_S = 60.0
"""How long nothing may run before somebody should be told."""
SILENCE_S = 30.0
"""How long a cluster may not answer; after 60 s Ray ends the process, without a word of ours."""
LOOK_EVERY_S = 5.0
"""Between two looks at the cluster."""


class Standstill:
    """Knows which trials wait for a place and which have one.

    Ray waits for ever for a node that is gone to come back, and says nothing of it to us.

    Args:
        clock: seconds from anywhere, never backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running: set[str] = set()
        self._waiting: set[str] = set()
        self._since: float | None = None

    def waits(self, trial: str) -> None:
        """A trial was handed out, or has lost its process."""
        self._running.discard(trial)
        self._waiting.add(trial)
        self._look()

    def runs(self, trial: str) -> None:
        """A process took a trial up."""
        self._waiting.discard(trial)
        self._running.add(trial)
        self._look()

    def over(self, trial: str) -> None:
        """A trial ended."""
        self._waiting.discard(trial)
        self._running.discard(trial)
        self._look()

    def told(self) -> str | None:
        """What the user should know now; once for each standstill."""
        if self._since is None or self._clock() - self._since < STANDSTILL_S:
            return None
        self._since = float("inf")
        return (
            f"no trial runs, for {STANDSTILL_S:.0f} s: {len(self._waiting)} wait for a place. A "
            "node may be down, or busy with somebody else's work (`ray status` tells). The search "
            "goes on as soon as there is room; if you interrupt it, nothing is lost"
        )

    def _look(self) -> None:
        if self._running or not self._waiting:
            self._since = None
        elif self._since is None:
            self._since = self._clock()


class Silence:
    """Knows for how long the control store of a Ray cluster has not answered.

    Args:
        name: the search's.
        address: HOST:PORT of the control store.
        clock: seconds from anywhere, never backwards.
    """

    def __init__(
        self, name: str, address: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        host, _, port = address.rpartition(":")
        self._address = host.strip("[]"), int(port)
        self._clock = clock
        self._looked = self._heard = clock()
        self._said = False

    def told(self) -> str | None:
        """What the user should know now; once for each silence."""
        now = self._clock()
        if now - self._looked < LOOK_EVERY_S:
            return None
        self._looked = now
        try:
            socket.create_connection(self._address, timeout=1.0).close()
        except OSError:
            if now - self._heard < SILENCE_S or self._said:
                return None
            self._said = True
            return (
                f"Ray's control store has not answered for {SILENCE_S:.0f} s. If it does not come "
                "back, Ray ends this process; nothing is lost. Then go on with: "
                f"longhaul resume {self._name}"
            )
        self._heard, self._said = now, False
        return None
