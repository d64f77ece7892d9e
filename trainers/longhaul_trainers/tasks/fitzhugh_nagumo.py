"""The FitzHugh-Nagumo system: the next value of a spiking neuron's voltage."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, final

import numpy as np
from numpy.typing import NDArray

from longhaul_trainers.counter import Words, uniform64
from longhaul_trainers.settings import setting
from longhaul_trainers.tasks.base import Protocol, Score
from longhaul_trainers.tasks.synthetic import FiniteProtocol, FiniteSettings
from longhaul_trainers.tasks.trajectories import State, TrajectoryTask, runge_kutta

CURRENT: Final = 0.5
A: Final = 0.7
B: Final = 0.8
SLOWNESS: Final = 1 / 50
INTERVAL: Final = 0.4
"""Time between two steps of a sequence."""
PARTS: Final = 8
"""Integration steps in it; the voltage then is within 2e-6 of the exact course."""

PROTOCOLS: Final = {
    "rusch-2022": FiniteProtocol(
        name="rusch-2022",
        source="Rusch, Mishra, Erichson, Mahoney: Long Expressive Memory for Sequence Modeling "
        "(LEM), ICLR 2022, arXiv:2110.04744; code tk-rusch/LEM",
        summary="128 sequences to train and to validate, 1,024 to test; metric rmse.",
        batch_size=32,
        steps=1600,
        defects="They integrate with scipy's solve_ivp at its default tolerance: their voltages "
        "deviate 0.04 (root mean square) from the exact course, far more than the errors that they "
        "report, so part of what is learnt is the solver. Here the course is exact to 2e-6. The "
        "error they report is that of the last 128 test sequences, not of all 1,024.",
        published=(
            Score("LEM, n = 16", 0.0024, "rmse", note="from the log in their repository, one run"),
        ),
        training_size=128,
        validation_size=128,
        test_size=1024,
    )
}


@dataclass(frozen=True, kw_only=True)
class FitzHughNagumoSettings(FiniteSettings):
    """How long the neuron is watched."""

    name: ClassVar[str] = "fitzhugh_nagumo"

    protocol: Literal["rusch-2022"] = setting(
        "rusch-2022", structural=True, searchable=False, help="sizes of the sets, as a paper had it"
    )
    length: int = setting(
        1000, ge=1, structural=True, searchable=False, help="steps of one sequence, 0.4 apart"
    )


@final
class FitzHughNagumo(TrajectoryTask):
    """From a neuron's voltage so far, its voltage one step later; a slow variable is not seen.

    With a current I = 0.5, a = 0.7, b = 0.8, in steps of 0.4::

        dv / dt = v - v^3 / 3 - w + I
        dw / dt = (v + a - b w) / 50

    Inputs and targets are (T, B, 1), the voltage v, which starts uniform in [-1, 1); w starts
    at 0 and must be inferred from the past.

    Reference: FitzHugh (1955), Nagumo et al. (1962); as a task, Rusch et al. (2022),
    arXiv:2110.04744.
    Differs from the authors' program: the course is exact to 2e-6, see the protocol.
    """

    settings_type = FitzHughNagumoSettings
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    settings: FitzHughNagumoSettings

    @property
    def protocol(self) -> FiniteProtocol:
        """See `Task.protocol`."""
        return PROTOCOLS[self.settings.protocol]

    @property
    def input_size(self) -> int:
        """1."""
        return 1

    @property
    def output_size(self) -> int:
        """1."""
        return 1

    @property
    def length(self) -> int:
        """T, as the settings have it."""
        return self.settings.length

    @property
    def ahead(self) -> int:
        """1."""
        return 1

    @property
    def words_per_sequence(self) -> int:
        """One, for the voltage at the start."""
        return 1

    def courses(self, words: Words) -> NDArray[np.float64]:
        """See `TrajectoryTask.courses`."""
        voltage = 2 * uniform64(words).T - 1
        start = np.concatenate([voltage, np.zeros_like(voltage)])
        return runge_kutta(_derivative, start, INTERVAL, points=self.length + 1, parts=PARTS)[:, :1]


def _derivative(state: State) -> State:
    v, w = state
    # A power would be computed in another way on each platform.
    change = np.empty_like(state)
    change[0] = v - v * v * v / 3 - w + CURRENT
    change[1] = SLOWNESS * (v + A - B * w)
    return change
