"""What Optuna is asked and told."""

import json
import math

import optuna
import pytest

from longhaul.ledger import Event, EventKind
from longhaul.search.study import SpaceExhaustedError, Study
from longhaul.spec.search_spec import SearchSpec

SPACE = """
task: {name: copying, delay: 5}
cell:
  choice:
    - {name: exprnn, hidden_size: 8, learning_rate_ratio: {loguniform: [0.01, 1]}}
    - {name: lstm, hidden_size: {int: [4, 12]}}
training: {optimizer: {name: adam, learning_rate: {loguniform: [1e-4, 1e-1]}}}
search: {seed: 3, sampler: SAMPLER}
"""
FLAT = """
task: {name: copying, delay: 5}
cell: {name: lstm, hidden_size: 8, forget_bias: {uniform: [0, 3]}}
training: {optimizer: {name: adam, learning_rate: {loguniform: [1e-4, 1e-1]}}}
search: {seed: 3, sampler: SAMPLER}
"""
SAMPLERS = {
    "tpe": "{name: tpe, startup_trials: 4}",
    "random": "random",
    "gp": "{name: gp, startup_trials: 4}",
    "cmaes": "{name: cmaes, popsize: 4}",
    "nsga2": "{name: nsga2, population_size: 4}",
}


RATE = "training.optimizer.learning_rate"
ENQUEUED = SPACE.replace(
    "SAMPLER}",
    """SAMPLER, enqueue: [
  {training.optimizer.learning_rate: 2e-4, cell: exprnn},
  {cell: lstm, cell.lstm.hidden_size: 5, training.optimizer.learning_rate: 0.1},
  {cell: lstm, cell.lstm.hidden_size: 5, training.optimizer.learning_rate: 0.1},
  {cell: exprnn, cell.exprnn.learning_rate_ratio: 1},
  {training.optimizer.learning_rate: 3e-3}]}""",
)


def spec(text: str, sampler: str) -> SearchSpec:
    return SearchSpec.from_text(text.replace("SAMPLER", sampler), "space.yaml", name="a")


def value(config: dict) -> float:
    rate = math.log10(config["training"]["optimizer"]["learning_rate"])
    return 0.1 + (rate + 2) ** 2 + (config["cell"]["name"] == "lstm")


class Played:
    """A search of which only the suggestions and the endings are real."""

    def __init__(self, search_spec: SearchSpec) -> None:
        self.study = Study(search_spec)
        self.events: list[Event] = []

    def play(self, numbers) -> None:
        for number in numbers:
            self.suggest(number)
            self.end(number)

    def note(self, kind: EventKind, number: int, **data) -> None:
        event = {"kind": kind, "trial": number, "data": json.loads(json.dumps(data))}
        self.events.append(Event(len(self.events), 1, None, **event))

    def suggest(self, number: int) -> dict:
        made = self.study.suggest(number)
        self.note(
            EventKind.SUGGESTED,
            number,
            params=made.params,
            distributions=made.distributions,
            asks=made.asks,
            attributes=made.attributes,
            config=made.config,
        )
        return made.config

    def end(self, number: int) -> None:
        config = next(e.data["config"] for e in self.events if e.trial == number)
        reached = value(config)
        if number % 5 == 4:
            self.study.ended(number, None, complete=False)
            self.note(EventKind.DIVERGED, number, step=3, reason="nan")
            return
        self.study.reported(number, 3, reached)
        self.note(EventKind.REPORTED, number, step=3, value=reached, decision="continue")
        complete = number % 2 == 0
        if complete:
            self.note(EventKind.REPORTED, number, step=9, value=reached / 2, decision="done")
            reached /= 2
        kind = EventKind.FINISHED if complete else EventKind.STOPPED
        self.note(kind, number, step=9 if complete else 3, value=reached)
        self.study.ended(number, reached, complete=complete)


@pytest.mark.parametrize("text", [SPACE, FLAT, ENQUEUED], ids=["branches", "flat", "enqueued"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_rebuilt_study_suggests_what_the_undisturbed_one_does(sampler, text):
    search_spec = spec(text, SAMPLERS[sampler])
    played = Played(search_spec)
    played.play(range(9))
    played.suggest(9)  # still running when the process died
    rebuilt = Study(search_spec)
    rebuilt.rebuild(played.events)
    for number in (10, 11):
        expected = played.study.suggest(number)
        again = rebuilt.suggest(number)
        assert again.config == expected.config
        assert again.params == expected.params
    assert known(played.study) == known(rebuilt)


def known(study: Study) -> list[tuple[dict, str]]:
    """Parameters and state of all trials, but of no ask that was refused as a repetition."""
    found: list[tuple[dict, str]] = []
    for trial in study._study.get_trials():
        if not any(trial.params == params for params, _ in found):
            found.append((trial.params, trial.state.name))
    return found


def test_trials_are_told_as_what_they_are():
    played = Played(spec(FLAT, SAMPLERS["random"]))
    played.play(range(5))
    trials = played.study._study.get_trials()
    names = [trial.state.name for trial in trials]
    assert names == ["COMPLETE", "PRUNED", "COMPLETE", "PRUNED", "FAIL"]
    ends = [e for e in played.events if e.kind in (EventKind.FINISHED, EventKind.STOPPED)]
    for trial, end in zip(trials, ends, strict=False):
        assert trial.value == pytest.approx(math.log10(end.data["value"]))


def test_no_configuration_is_suggested_twice_and_an_empty_space_says_so():
    text = """
task: {name: copying, delay: 5}
cell: {name: lstm, hidden_size: {choice: [4, 8]}, forget_bias: {choice: [0, 1, 2]}}
search: {seed: 0, sampler: SAMPLER}
"""
    for sampler in SAMPLERS.values():
        study = Study(spec(text, sampler))
        seen = set()
        for number in range(6):
            config = study.suggest(number).config
            study.ended(number, 0.5, complete=True)
            seen.add((config["cell"]["hidden_size"], config["cell"]["forget_bias"]))
        assert len(seen) == 6
        with pytest.raises(SpaceExhaustedError):
            study.suggest(6)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_enqueued_points_are_tried_first_in_their_order(sampler):
    study = Study(spec(ENQUEUED, SAMPLERS[sampler]))
    made = [study.suggest(number) for number in range(7)]
    params = [one.params for one in made]
    assert (params[0]["cell"], params[0][RATE]) == ("exprnn", 2e-4)
    assert params[1] == {"cell": "lstm", "cell.lstm.hidden_size": 5, RATE: 0.1}
    assert params[2] != params[1]  # the same point again: the sampler decides instead
    assert (params[3]["cell"], params[3]["cell.exprnn.learning_rate_ratio"]) == ("exprnn", 1.0)
    assert params[4][RATE] == 3e-3
    # What a point leaves open is sampled, within its hole and not twice alike.
    open_values = [params[0]["cell.exprnn.learning_rate_ratio"], params[3][RATE]]
    assert 0.01 <= open_values[0] <= 1
    assert 1e-4 <= open_values[1] <= 1e-1
    assert len({one[RATE] for one in params}) == len(params)
    assert made[1].config["cell"]["hidden_size"] == 5
    assert made[1].config["training"]["optimizer"]["learning_rate"] == 0.1


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("died_after", range(6))
def test_a_study_rebuilt_among_its_enqueued_points_goes_on_alike(sampler, died_after):
    search_spec = spec(ENQUEUED, SAMPLERS[sampler])
    played = Played(search_spec)
    for number in range(died_after):
        played.suggest(number)
        if number % 2 == 0:
            played.end(number)
    rebuilt = Study(search_spec)
    rebuilt.rebuild(played.events)
    for number in range(died_after, 8):
        assert rebuilt.suggest(number).config == played.study.suggest(number).config


def test_random_suggestions_after_the_points_are_what_they_were_without():
    plain = Study(spec(SPACE, SAMPLERS["random"]))
    enqueued = Study(spec(ENQUEUED, SAMPLERS["random"]))
    for number in range(5):
        plain.suggest(number), enqueued.suggest(number)
    assert plain.suggest(5).config == enqueued.suggest(5).config


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_equal_points_do_not_exhaust_a_search(sampler):
    text = """
task: {name: copying, delay: 5}
cell: {name: lstm, hidden_size: {choice: [4, 8]}, forget_bias: {choice: [0, 1, 2]}}
search: {seed: 0, sampler: SAMPLER, enqueue: [
  {cell.hidden_size: 8, cell.forget_bias: 2}, {cell.hidden_size: 8, cell.forget_bias: 2},
  {cell.hidden_size: 8, cell.forget_bias: 2}, {cell.hidden_size: 8}, {cell.hidden_size: 8},
  {cell.hidden_size: 8}]}
"""
    study = Study(spec(text, SAMPLERS[sampler]))
    seen = []
    for number in range(6):
        config = study.suggest(number).config
        study.ended(number, 0.5, complete=True)
        seen.append((config["cell"]["hidden_size"], config["cell"]["forget_bias"]))
    assert seen[0] == (8, 2)
    assert len(set(seen)) == 6
    with pytest.raises(SpaceExhaustedError):
        study.suggest(6)


def test_requests_of_parameters_that_mean_the_same_size_are_one_configuration():
    text = """
task: {name: copying, delay: 5}
cell: {name: lstm, parameters: {int: [1000, 1250]}}
search: {seed: 0, sampler: random}
"""
    study = Study(spec(text, "random"))
    # 4 n (n + 11) + 9 n + 9: 10 units have 939, 11 have 1,076, 12 have 1,221
    sizes = [study.suggest(number).config["cell"]["hidden_size"] for number in range(3)]
    assert sorted(sizes) == [10, 11, 12]
    with pytest.raises(SpaceExhaustedError):
        study.suggest(3)


def test_each_trial_has_its_own_seed_and_each_search_its_own_suggestions():
    one, other = Study(spec(FLAT, "tpe")), Study(spec(FLAT.replace("seed: 3", "seed: 4"), "tpe"))
    configs = [study.suggest(number).config for study in (one, other) for number in (0, 1)]
    assert len({config["seed"] for config in configs}) == 4
    rates = {config["training"]["optimizer"]["learning_rate"] for config in configs}
    assert len(rates) == 4


def test_a_sampler_learns_from_what_it_is_told():
    played = Played(spec(FLAT, "{name: tpe, startup_trials: 10}"))
    played.play(range(40))
    rates = [
        abs(math.log10(e.data["params"]["training.optimizer.learning_rate"]) + 2)
        for e in played.events
        if e.kind is EventKind.SUGGESTED
    ]
    assert sum(rates[20:]) / 20 < 0.7 * sum(rates[:10]) / 10


def test_nothing_global_is_seeded():
    import random

    import numpy as np

    random.seed(1), np.random.seed(1)  # noqa: NPY002 - what must not change
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    Played(spec(FLAT, "tpe")).play(range(12))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002


def test_every_sampler_of_the_catalogue_is_tested_here():
    from longhaul.spec.search_settings import SAMPLERS as CATALOGUE

    assert sorted(SAMPLERS) == CATALOGUE.names()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
