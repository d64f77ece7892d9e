"""The Lorenz 96 system: where will five coupled variables be 25 steps later?"""

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

VARIABLES: Final = 5
INTERVAL: Final = 0.01
"""Time between two steps of a sequence, one integration step."""

_FROM_MEMORY: Final = "quoted from memory, not checked against the paper"

PROTOCOLS: Final = {
    "rusch-2021": FiniteProtocol(
        name="rusch-2021",
        source="Rusch, Mishra: Coupled Oscillatory Recurrent Neural Network (coRNN), ICLR 2021, "
        "arXiv:2010.00951, appendix on chaotic time series",
        summary="128 trajectories each to train, validate and test, started up to 1/2 from the "
        "equilibrium in every variable; metric nrmse. Set forcing to 0.9 (not chaotic) or 8.",
        batch_size=32,
        steps=1600,
        defects="Written down from memory of the appendix; there is no released code. Batch size "
        "and steps are not published: they are those of the same authors' fitzhugh_nagumo. "
        "Whether 2,000 counts the 25 last points, which have no target, is not said; here it does "
        "not. With forcing 0.9 a trajectory settles into a small regular wave; burn_in "
        "leaves out the way there, which is harder to predict. nrmse divides by the root mean "
        "square of the targets, not by their deviation, so errors around a mean far from 0 look "
        "small.",
        published=(
            Score("LSTM", 0.02, "nrmse", "forcing: 0.9", _FROM_MEMORY),
            Score("coRNN", 0.02, "nrmse", "forcing: 0.9", _FROM_MEMORY),
            Score("LSTM", 0.068, "nrmse", "forcing: 8", _FROM_MEMORY),
            Score("coRNN", 0.098, "nrmse", "forcing: 8", _FROM_MEMORY),
        ),
        training_size=128,
        validation_size=128,
        test_size=128,
    )
}


@dataclass(frozen=True, kw_only=True)
class Lorenz96Settings(FiniteSettings):
    """Which system, and how far ahead."""

    name: ClassVar[str] = "lorenz96"

    protocol: Literal["rusch-2021"] = setting(
        "rusch-2021", structural=True, searchable=False, help="sizes of the sets, as a paper had it"
    )
    forcing: float = setting(
        8.0, structural=True, searchable=False, help="F; chaotic at 8, not at 0.9"
    )
    length: int = setting(
        2000, ge=1, structural=True, searchable=False, help="steps of one sequence"
    )
    ahead: int = setting(
        25, ge=1, structural=True, searchable=False, help="from an input to its target, in steps"
    )
    burn_in: int = setting(
        0,
        ge=0,
        structural=True,
        searchable=False,
        help="steps from the start that are computed, but not shown",
    )


@final
class Lorenz96(TrajectoryTask):
    """From the present and past states of five coupled variables, their states 25 steps later.

    With indices modulo 5 and time steps of 0.01::

        dx_j / dt = (x_{j+1} - x_{j-2}) x_{j-1} - x_j + F

    Inputs and targets are (T, B, 5); x starts uniform in [F - 1/2, F + 1/2]. The whole state is
    seen, so the present input alone determines the target; to remember helps only a cell that
    has no better map for one step.

    Reference: Lorenz, "Predictability: a problem partly solved", 1996; as a task, Rusch and Mishra
    (2021), arXiv:2010.00951.
    """

    settings_type = Lorenz96Settings
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    settings: Lorenz96Settings

    @property
    def protocol(self) -> FiniteProtocol:
        """See `Task.protocol`."""
        return PROTOCOLS[self.settings.protocol]

    @property
    def input_size(self) -> int:
        """5."""
        return VARIABLES

    @property
    def output_size(self) -> int:
        """5."""
        return VARIABLES

    @property
    def length(self) -> int:
        """T, as the settings have it."""
        return self.settings.length

    @property
    def ahead(self) -> int:
        """See `TrajectoryTask.ahead`."""
        return self.settings.ahead

    @property
    def words_per_sequence(self) -> int:
        """One for each variable's start."""
        return VARIABLES

    def courses(self, words: Words) -> NDArray[np.float64]:
        """See `TrajectoryTask.courses`."""
        forcing = self.settings.forcing
        start = (forcing - 0.5) + uniform64(words).T

        def derivative(state: State) -> State:
            next_one, before, before_that = (state[index] for index in _NEIGHBOURS)
            return (next_one - before_that) * before - state + forcing

        hidden = self.settings.burn_in
        points = hidden + self.length + self.ahead
        return runge_kutta(derivative, start, INTERVAL, points=points, parts=1)[hidden:]


_NEIGHBOURS: Final = tuple(
    np.arange(distance, distance + VARIABLES) % VARIABLES for distance in (1, -1, -2)
)
"""Indices of the next variable, of the one before, and of the one before that."""
