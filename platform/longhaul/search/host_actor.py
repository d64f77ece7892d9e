"""A pack host as Ray knows it; whoever holds a handle loads this module, so without torch."""

from collections.abc import Mapping
from typing import Any

from longhaul.search.hosted_training import News
from longhaul.search.training import Checkpoint


class PackHostActor:
    """Hands everything on to a `longhaul.search.pack_host.PackHost`, where it is documented.

    Args:
        device: where to compute.
        threads: threads for the arithmetic.
        deadline_s: how long one step of a pack may take; None: for ever.
    """

    def __init__(self, device: str, threads: int, deadline_s: float | None = None) -> None:
        # imported here: torch, in the host's process only
        from longhaul.search.pack_host import PackHost

        self._host = PackHost(device, threads, deadline_s)

    def environment(self) -> dict[str, Any]:
        """See `PackHost.environment`."""
        return self._host.environment()

    def take_on(
        self,
        number: int,
        config: Mapping[str, Any],
        until: int,
        checkpoint: Checkpoint | None,
        checkpoint_every_s: float,
        apart: bool = False,
    ) -> str:
        """See `PackHost.take_on`."""
        return self._host.take_on(number, config, until, checkpoint, checkpoint_every_s, apart)

    def news(self, ticket: str, patience_s: float) -> list[News] | None:
        """See `PackHost.news`."""
        return self._host.news(ticket, patience_s)
