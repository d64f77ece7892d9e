"""Where the reports of trials wait for their turn; a Ray actor, so without torch."""

import asyncio
from typing import Any

WAIT_S = 30.0
"""How long a question to the turnstile waits."""


class Turnstile:
    """Holds every trial until the driver lets it pass."""

    def __init__(self) -> None:
        self._let: dict[int, int] = {}
        self._changed = asyncio.Condition()

    async def let(self, number: int, step: int) -> None:
        """Lets a trial's reports up to a step pass."""
        async with self._changed:
            self._let[number] = max(step, self._let.get(number, 0))
            self._changed.notify_all()

    async def wait(self, number: int, step: int, wait_s: float) -> bool:
        """Whether a trial's report at a step may pass, after a while if not yet."""
        async with self._changed:
            try:
                await asyncio.wait_for(
                    self._changed.wait_for(lambda: step <= self._let.get(number, 0)), wait_s
                )
            except TimeoutError:
                return False
            return True


def pass_through(turnstile: Any, number: int, step: int) -> None:
    """Waits until a trial's report may pass.

    Args:
        turnstile: the handle of an actor `Turnstile`.
        number: the trial's number.
        step: the report's step.
    """
    # imported here: this module is light
    import ray

    while not ray.get(turnstile.wait.remote(number, step, WAIT_S)):
        pass
