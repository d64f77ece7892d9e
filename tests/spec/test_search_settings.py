"""Samplers, schedulers and their rungs."""

from itertools import pairwise

import pytest

from longhaul.spec.search_settings import (
    SAMPLERS,
    SCHEDULERS,
    ASHASettings,
    FullSettings,
    ResourceSettings,
    SearchSettings,
)
from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import dump, parse


@pytest.mark.parametrize(
    ("grace", "factor", "steps", "rungs"),
    [
        (75, 3, 600, [75, 225, 600]),
        (100, 3, 900, [100, 300, 900]),
        (100, 3, 901, [100, 300, 900, 901]),
        (1, 2, 10, [1, 2, 4, 8, 10]),
        (1, 8, 64, [1, 8, 64]),
        (600, 3, 600, [600]),
        (900, 3, 600, [600]),
        (1, 3, 1, [1]),
        (None, 3, 900, [100, 300, 900]),
        (None, 3, 100, [12, 36, 100]),
        (None, 4, 4000, [250, 1000, 4000]),
        (None, 2, 3, [1, 2, 3]),
        (None, 8, 1, [1]),
    ],
)
def test_rungs(grace, factor, steps, rungs):
    settings = ASHASettings(grace_steps=grace, reduction_factor=factor)
    assert settings.rungs(steps) == rungs


@pytest.mark.parametrize("factor", range(2, 9))
def test_rungs_ascend_by_the_factor_and_end_with_the_last_step(factor):
    for steps in range(1, 300):
        rungs = ASHASettings(reduction_factor=factor).rungs(steps)
        assert rungs[-1] == steps
        assert all(b == factor * a for a, b in pairwise(rungs[:-1]))
        assert rungs == sorted(set(rungs))
        # two comparisons, no more, where no grace period is given and there are steps enough
        assert len(rungs) == 3 or steps < factor**2


def test_without_stopping_there_is_one_rung():
    assert FullSettings().rungs(600) == [600]


@pytest.mark.parametrize("factor", [1, 9])
def test_the_reduction_factor_is_2_to_8(factor):
    with pytest.raises(SettingError, match="reduction_factor"):
        parse(ASHASettings, {"reduction_factor": factor})


@pytest.mark.parametrize("catalogue", [SAMPLERS, SCHEDULERS])
def test_every_name_has_settings_of_that_name(catalogue):
    for name in catalogue.names():
        assert catalogue.settings_type(name).name == name


def test_the_samplers_settings_are_arguments_of_optunas_samplers():
    import inspect

    from optuna import samplers

    types = {
        "cmaes": samplers.CmaEsSampler,
        "gp": samplers.GPSampler,
        "nsga2": samplers.NSGAIISampler,
        "random": samplers.RandomSampler,
        "tpe": samplers.TPESampler,
    }
    assert sorted(types) == SAMPLERS.names()
    for name, sampler in types.items():
        given = dump(SAMPLERS.settings_type(name)())
        given.pop("name")
        given = {{"startup_trials": "n_startup_trials"}.get(key, key) for key in given}
        assert given <= set(inspect.signature(sampler.__init__).parameters)


def test_grouping_needs_the_joint_model():
    with pytest.raises(SettingError, match=r"search\.sampler\.group: .* multivariate true"):
        parse(SearchSettings, {"sampler": {"name": "tpe", "multivariate": False}}, "search")
    settings = {"sampler": {"name": "tpe", "multivariate": False, "group": False}}
    assert not parse(SearchSettings, settings).sampler.multivariate


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (SearchSettings, {"trials": 0}),
        (SearchSettings, {"seed": -1}),
        (SearchSettings, {"seed": 2**63}),
        (SearchSettings, {"parallel": 0}),
        (SearchSettings, {"max_failed_trials": -1}),
        (SearchSettings, {"retries": -1}),
        (SearchSettings, {"checkpoint_every_s": 0}),
        (SearchSettings, {"report_deadline_s": 0}),
        (ResourceSettings, {"cpus": 0}),
        (ResourceSettings, {"gpus": -0.5}),
    ],
)
def test_bounds(kind, value):
    with pytest.raises(SettingError, match=next(iter(value))):
        parse(kind, value)
