"""The Optuna study of one search, kept in memory and rebuilt from the ledger's events."""

import json
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from longhaul.ledger import Event
from longhaul.search.samplers import KEEPS_STATE, build_sampler
from longhaul.spec.holes import suggest_from
from longhaul.spec.search_settings import RandomSettings
from longhaul.spec.search_spec import SearchSpec
from longhaul_trainers.seeds import derive_seed

if TYPE_CHECKING:
    import optuna

ASKS = 10
"""How often the sampler is asked for a configuration that was not suggested before."""
POINT_ASKS = 5
"""In how many of these an enqueued point is kept: what it leaves open may come out new next time;
one that leaves nothing open, and was tried before, makes room for the sampler."""
RANDOM_ASKS = 500
"""How often a random one is drawn after that: a sampler that has found its optimum in a small
space proposes it for ever."""


JSON_ATTRIBUTES = "tpe:"
"""Attributes of a trial that go to the ledger. TPE keeps there what it drew for all branches of a
running trial; what CMA-ES keeps is a pickle, which nothing of ours reads from storage."""


class SpaceExhaustedError(Exception):
    """Every configuration that the sampler proposes has been suggested already."""


class Study:
    """What Optuna knows of a search.

    The same methods serve a running search and its rebuilding from events, so both end in the same
    state. Suggestion n draws from a sampler seeded by (search seed, n) alone: what a search
    suggests after it was taken up again is what it would have suggested had it never stopped.
    Suggestion n takes the n-th of the specification's enqueued points as far as it goes.

    Values are told as their objective says: losses as their logarithm, for on these tasks they
    differ by orders of magnitude, which a sampler that models the value itself could not see.

    Args:
        spec: the space, its sampler and its seed.
    """

    def __init__(self, spec: SearchSpec) -> None:
        # imported here: 1 s
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._spec = spec
        self._study = optuna.create_study(direction="minimize")
        self._live: dict[int, optuna.Trial] = {}
        self._seen: set[str] = set()

    def suggest(self, number: int) -> "Suggestion":
        """A configuration that was never suggested before, for the trial of this number.

        Raises:
            SpaceExhaustedError: the sampler finds no new one.
        """
        for attempt in range(ASKS + RANDOM_ASKS):
            trial, config = self._ask(number, attempt)
            identity = _identity(config)
            if identity not in self._seen:
                self._seen.add(identity)
                self._live[number] = trial
                return Suggestion(config, trial, asks=attempt + 1)
            self._tell(trial, "FAIL")
        raise SpaceExhaustedError

    def reported(self, number: int, step: int, value: float) -> None:
        """A trial's value at a rung."""
        self._live[number].report(self._spec.search.objective.told(value), step)

    def ended(self, number: int, value: float | None, *, complete: bool) -> None:
        """A trial is over.

        Args:
            number: the trial's number.
            value: its last value; None where it diverged or failed.
            complete: whether it ran all its steps, rather than being stopped early.
        """
        trial = self._live.pop(number)
        if value is None:
            self._tell(trial, "FAIL")
        elif complete:
            self._tell(trial, "COMPLETE", self._spec.search.objective.told(value))
        else:
            self._tell(trial, "PRUNED")

    def rebuild(self, events: Iterable[Event]) -> None:
        """Takes in everything that happened so far."""
        for event in events:
            self._apply(event)

    def _apply(self, event: Event) -> None:
        number, data = event.trial, event.data
        if number is None:
            return
        if event.kind == "suggested":
            self._live[number] = self._known(number, data)
            self._seen.add(_identity(data["config"]))
        elif event.kind == "reported" and data["decision"] != "done":
            self.reported(number, data["step"], data["value"])
        elif event.kind in ("stopped", "finished"):
            self.ended(number, data["value"], complete=event.kind == "finished")
        elif event.kind in ("diverged", "failed"):
            self.ended(number, None, complete=False)

    def _known(self, number: int, data: dict[str, Any]) -> "optuna.Trial":
        import optuna

        if self._spec.search.sampler.name in KEEPS_STATE:
            # Their state lives in the study: asking again, with the same seed and the same past,
            # makes the same suggestion and the same state.
            for attempt in range(data.get("asks", 1)):
                trial, _ = self._ask(number, attempt)
                if trial.params == data["params"]:
                    return trial
                self._tell(trial, "FAIL")
        distributions = {name: _distribution(text) for name, text in data["distributions"].items()}
        self._study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.RUNNING,
                params=data["params"],
                distributions=distributions,
                system_attrs=data.get("attributes", {}),
            )
        )
        return optuna.Trial(self._study, self._study.get_trials(deepcopy=False)[-1]._trial_id)

    def _ask(self, number: int, attempt: int) -> tuple["optuna.Trial", dict[str, Any]]:
        search = self._spec.search
        seed = derive_seed(search.seed, "sampler", number, attempt) % 2**32
        sampler = search.sampler if attempt < ASKS else RandomSettings()
        self._study.sampler = build_sampler(sampler, seed)
        if number < len(self._spec.enqueue) and attempt < POINT_ASKS:
            self._study.enqueue_trial(dict(self._spec.enqueue[number]))
        trial = self._study.ask()
        return trial, self._spec.trial(suggest_from(trial), number)

    def _tell(self, trial: "optuna.Trial", state: str, value: float | None = None) -> None:
        import optuna

        self._study.tell(trial.number, value, state=optuna.trial.TrialState[state])


class Suggestion:
    """One suggested configuration with what Optuna knows it by.

    Attributes:
        config: the space with every hole filled, and the trial's seed.
        params: Optuna's parameters by dotted name.
        distributions: their distributions as Optuna's JSON.
        asks: how many times the sampler was asked.
        attributes: what the sampler noted beside the trial, as plain JSON.
    """

    def __init__(self, config: dict[str, Any], trial: "optuna.Trial", asks: int) -> None:
        import optuna

        self.config = config
        self.asks = asks
        self.params = dict(trial.params)
        self.attributes = {
            name: value
            for name, value in trial.storage.get_trial_system_attrs(trial._trial_id).items()
            if name.startswith(JSON_ATTRIBUTES)
        }
        self.distributions = {
            name: optuna.distributions.distribution_to_json(one)
            for name, one in trial.distributions.items()
        }


@cache
def _distribution(text: str) -> Any:
    """A distribution that all trials of a search share, from Optuna's JSON."""
    from optuna.distributions import json_to_distribution

    return json_to_distribution(text)


def _identity(config: dict[str, Any]) -> str:
    return json.dumps({k: v for k, v in config.items() if k != "seed"}, sort_keys=True)
