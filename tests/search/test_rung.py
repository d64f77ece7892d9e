"""A rung's percentiles are numpy's, whatever came and went."""

import random

import numpy as np
import pytest

from longhaul.search.rung import Rung


@pytest.mark.parametrize("factor", [2, 3, 4, 7])
def test_percentiles_are_those_of_numpy_bit_for_bit(factor):
    drawn = random.Random(factor)
    percent = (1 - 1 / factor) * 100
    rung = Rung()
    for number in range(200):
        rung[str(number)] = drawn.choice([drawn.gauss(0, 1), 0.5, -1e-9 * drawn.random()])
        if number % 5 == 4:
            del rung[str(drawn.choice(list(map(int, rung))))]
        if number % 7 == 6:
            rung[next(iter(rung))] = drawn.gauss(0, 1)
        assert rung.percentile(percent) == np.nanpercentile(list(rung.values()), percent)


def test_a_rung_without_rewards_has_no_percentile():
    assert Rung().percentile(50) is None


def test_a_reward_that_is_replaced_counts_once():
    rung = Rung()
    for reward in (5.0, 7.0, 1.0):
        rung["one"] = reward
    assert dict(rung) == {"one": 1.0}
    assert rung.percentile(90) == 1.0
