"""Normal numbers made from words."""

import numpy as np
from scipy import stats

from longhaul_trainers.counter import Stream
from longhaul_trainers.normal import normal32


def test_each_word_makes_four_numbers_from_its_lowest_bits_up():
    words = np.array([[0x0000_8000_7FFF_FFFF]], dtype=np.uint64)
    ends = stats.norm.ppf([0.5 / 65536, 32767.5 / 65536, 32768.5 / 65536, 65535.5 / 65536])
    expected = [ends[3], ends[1], ends[2], ends[0]]
    np.testing.assert_allclose(normal32(words)[0], expected, rtol=1e-6)


def test_the_distribution_is_standard_normal():
    drawn = normal32(Stream("normal").words(1000, 250)).ravel()
    assert drawn.dtype == np.float32
    assert len(drawn) == 1_000_000
    assert stats.kstest(drawn[:20_000].astype(np.float64), "norm").pvalue > 1e-4
    assert abs(drawn.mean(dtype=np.float64)) < 4e-3
    assert abs(drawn.var(dtype=np.float64) - 1) < 6e-3
    assert abs(np.mean(drawn.astype(np.float64) ** 4) - 3) < 0.04


def test_all_quantiles_are_symmetric_and_their_variance_nearly_one():
    codes = np.arange(65536, dtype="<u2").view("<u8").reshape(1, -1)
    numbers = normal32(codes)[0]
    np.testing.assert_array_equal(numbers, -numbers[::-1])
    assert (np.diff(numbers) > 0).all()
    assert abs(numbers.var(dtype=np.float64) - 1) < 1e-4


def test_the_numbers_never_change():
    drawn = normal32(Stream("normal").words(1, 2))
    assert drawn.tolist() == [RECORDED]


# Recorded once, so that a noise once hashed is always the same.
RECORDED = [
    -0.4549368619918823,
    -0.5696819424629211,
    1.329724669456482,
    -1.3746652603149414,
    0.6105633974075317,
    -0.19033733010292053,
    0.9963573813438416,
    -0.17582954466342926,
]
