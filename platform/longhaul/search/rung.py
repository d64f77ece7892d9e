"""What ASHA's trials reached at one rung, kept in order."""

import math
from bisect import bisect_left, insort


class Rung(dict[str, float]):
    """The rewards of trials at a rung, by trial, whose percentiles cost the same however many.

    Ray Tune's ASHA asks for a percentile at every report, and makes a list and then an array of
    all rewards for it, which at a hundred thousand trials takes longer than writing the report
    down. Rewards are finite, and enter and leave one at a time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ascending: list[float] = []

    def __setitem__(self, trial: str, reward: float) -> None:
        if trial in self:
            del self[trial]
        super().__setitem__(trial, reward)
        insort(self._ascending, reward)

    def __delitem__(self, trial: str) -> None:
        del self._ascending[bisect_left(self._ascending, self[trial])]
        super().__delitem__(trial)

    def percentile(self, percent: float) -> float | None:
        """What `numpy.percentile` gives, bit for bit; None where there is no reward.

        Args:
            percent: in [0, 100].
        """
        if not self._ascending:
            return None
        place = (len(self._ascending) - 1) * (percent / 100)
        below = math.floor(place)
        low = self._ascending[below]
        high = self._ascending[min(below + 1, len(self._ascending) - 1)]
        share = place - below
        # numpy comes from the nearer end
        return low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)
