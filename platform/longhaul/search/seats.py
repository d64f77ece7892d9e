"""Which pack host each trial trains in."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any


class Seats:
    """Gives each running trial a place in one of the hosts.

    Trials of equal structure come together where there is room; a new structure begins in the host
    that is emptiest. A trial keeps its seat, retries included, until it is over.

    Args:
        hosts: how many hosts there are.
        slots: how many trials each of them takes.
    """

    def __init__(self, hosts: int, slots: int) -> None:
        self._slots = slots
        self._taken: list[dict[str, str]] = [{} for _ in range(hosts)]
        self._alike: list[Counter[str]] = [Counter() for _ in range(hosts)]

    def take(self, trial: str, structure: str) -> int:
        """The host for a trial.

        Args:
            trial: any name of it.
            structure: a text that is equal for trials that may train together.
        """
        # With more trials than seats, which nobody asks for, the emptiest host takes one more.
        free = [h for h, taken in enumerate(self._taken) if len(taken) < self._slots]
        host = min(
            free or range(len(self._taken)),
            key=lambda h: (-self._alike[h][structure], len(self._taken[h]), h),
        )
        self._taken[host][trial] = structure
        self._alike[host][structure] += 1
        return host

    def leave(self, trial: str) -> None:
        """Frees the trial's seat, if it has one."""
        for taken, alike in zip(self._taken, self._alike, strict=True):
            structure = taken.pop(trial, None)
            if structure is not None:
                alike[structure] -= 1
                alike += Counter()  # forgets those that nobody is of any more


def structure_of(config: Mapping[str, Any]) -> str:
    """What a trial must have in common with others to train with them; as a text."""
    # imported here: the training package brings torch
    from longhaul_trainers.errors import SettingError
    from longhaul_trainers.training.settings import TrialConfig

    try:
        return json.dumps(TrialConfig.parse(dict(config)).structure(), sort_keys=True)
    except SettingError:
        return "none"  # the trial will fail, and say why
