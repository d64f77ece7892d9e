"""The generator against a second implementation and the published answers; then its statistics."""

import subprocess
import sys
from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from scipy.stats import chi2

from longhaul_trainers.counter import Stream, distinct_integers, integers, uniform32, uniform64

MASK = (1 << 64) - 1

# Random123, tests/kat_vectors, philox4x64 10: counter, key, answer.
KNOWN_ANSWERS = [
    (
        [0, 0, 0, 0],
        [0, 0],
        [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B],
    ),
    (
        [MASK] * 4,
        [MASK] * 2,
        [0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0],
    ),
    (
        [0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89],
        [0x452821E638D01377, 0xBE5466CF34E90C6C],
        [0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6],
    ),
]


def philox(counter, key):
    """Philox 4x64-10 in plain Python, written from the paper."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = c[0] * 0xD2E7470EE14C6C93, c[2] * 0xCA5A826395121157
        c = [(b >> 64) ^ c[1] ^ k[0], b & MASK, (a >> 64) ^ c[3] ^ k[1], a & MASK]
        k = [(k[0] + 0x9E3779B97F4A7C15) & MASK, (k[1] + 0xBB67AE8584CAA73B) & MASK]
    return c


def word_at(stream, step, index):
    block, word = divmod(index, 4)
    return philox([block, 0, step, 0], [stream.key & MASK, stream.key >> 64])[word]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_reference_implementation_gives_the_published_answers(counter, key, answer):
    assert philox(counter, key) == answer


@pytest.mark.parametrize("width", [1, 3, 4, 50])
@pytest.mark.parametrize("step", [0, 7, (1 << 64) - 5])
def test_words_of_some_steps_are_those_of_each(step, width):
    stream = Stream("any", 3)
    together = stream.words_of_steps(3, width, step=step, steps=5).reshape(5, 3, width)
    for i, words in enumerate(together):
        assert np.array_equal(words, stream.words(3, width, step=step + i))


def test_steps_beyond_the_last_are_refused():
    with pytest.raises(ValueError, match="found 18446744073709551612 and 5 more"):
        Stream("any").words_of_steps(1, 1, step=(1 << 64) - 4, steps=5)


def test_first_block_is_that_of_counter_zero():
    stream = Stream("any")
    stream.key = 0
    assert stream.words(1, 4)[0].tolist() == KNOWN_ANSWERS[0][2]


@pytest.mark.parametrize("step", [0, 1, 12_345, 2**32, 2**64 - 1])
@pytest.mark.parametrize(("rows", "width", "first_row"), [(3, 10, 0), (2, 7, 5), (1, 1, 2**40)])
def test_words_are_those_of_their_address(step, rows, width, first_row):
    stream = Stream("a label", 7)
    drawn = stream.words(rows, width, step=step, first_row=first_row)
    wanted = [
        [word_at(stream, step, (first_row + r) * width + c) for c in range(width)]
        for r in range(rows)
    ]
    assert drawn.dtype == np.uint64
    assert drawn.tolist() == wanted


def test_rows_do_not_depend_on_how_many_are_drawn_nor_on_earlier_draws():
    stream = Stream("rows")
    many = stream.words(50, 13, step=9)
    stream.words(3, 4, step=1)
    assert np.array_equal(stream.words(20, 13, step=9), many[:20])
    assert np.array_equal(stream.words(5, 13, step=9, first_row=31), many[31:36])


def test_key_is_the_hash_of_the_labels():
    # SHA-256 of b"s7:copyings8:trainingi1:3", first 16 bytes, little endian.
    assert Stream("copying", "training", 3).key == 0x0937E6EBA1124967F45311E4E2F3F816


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("1",), (1,)),
        (("ab", "c"), ("a", "bc")),
        (("a", "b"), ("as1:b",)),
        ((1, 2), (12,)),
        ((-1,), (1,)),
        ((), ("",)),
        (("training", 0), ("validation",)),
    ],
)
def test_labels_are_joined_unambiguously(one, other):
    assert Stream(*one).key != Stream(*other).key


def test_words_are_the_same_in_another_process():
    code = "from longhaul_trainers.counter import Stream;print(Stream('p', 5).words(4, 9).tolist())"
    # Arguments are ours, nothing of a user's is run.
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str(Stream("p", 5).words(4, 9).tolist())


@pytest.mark.parametrize("step", [-1, 2**64])
def test_a_step_outside_the_counter_is_refused(step):
    with pytest.raises(ValueError, match=r"step must be in \[0, 2\^64\)"):
        Stream("a").words(1, 1, step=step)


@pytest.mark.parametrize("bound", [1, 2, 3, 7, 8, 10, 1000, 2**31 + 11, 2**32 - 1, 2**32])
def test_integers_are_the_upper_half_of_the_exact_product(bound):
    edges = [k * 2**64 // bound + d for k in range(min(bound, 9)) for d in (-1, 0, 1)]
    words = [w for w in edges if 0 <= w <= MASK] + [0, MASK, 0xFFFFFFFF, 0xFFFFFFFF00000000]
    words += Stream("integers", bound).words(1, 200)[0].tolist()
    drawn = integers(np.array(words, dtype=np.uint64), bound)
    assert drawn.tolist() == [word * bound >> 64 for word in words]
    assert drawn.dtype == np.int64


@pytest.mark.parametrize("bound", [0, -1, 2**32 + 1])
def test_a_bound_that_cannot_be_exact_is_refused(bound):
    with pytest.raises(ValueError, match="bound must be in"):
        integers(np.zeros(1, dtype=np.uint64), bound)


def test_floats_take_the_upper_bits_and_stay_below_one():
    words = np.array([0, MASK, 1 << 63, 1 << 40, 1 << 11], dtype=np.uint64)
    assert uniform32(words).tolist() == [0.0, 1 - 2**-24, 0.5, 2**-24, 0.0]
    assert uniform64(words).tolist() == [0.0, 1 - 2**-53, 0.5, 2**-24, 2**-53]
    assert uniform32(words).dtype == np.float32
    assert uniform64(words).dtype == np.float64


def assert_uniform(cells, count):
    """Chi-square on the frequencies of ``count`` equally likely cells; one seed in 10,000 fails."""
    seen = np.bincount(cells.ravel(), minlength=count)
    expected = cells.size / count
    statistic = ((seen - expected) ** 2 / expected).sum()
    assert statistic < chi2.ppf(1 - 1e-4, count - 1)


@pytest.mark.parametrize("bound", [2, 7, 8, 100])
def test_integers_are_uniform(bound):
    assert_uniform(integers(Stream("uniform").words(20_000, 5), bound), bound)


@pytest.mark.parametrize("convert", [uniform32, uniform64])
def test_floats_are_uniform(convert):
    drawn = convert(Stream("uniform").words(20_000, 5))
    assert_uniform((drawn * 64).astype(np.int64), 64)


@pytest.mark.parametrize("what", ["step", "row", "column", "label"])
def test_neighbouring_addresses_are_independent(what):
    streams = [Stream("pair", 0), Stream("pair", 1 if what == "label" else 0)]
    grid = [
        stream.words(30_000, 2, step=offset if what == "step" else 0)
        for offset, stream in enumerate(streams)
    ]
    first, second = {
        "step": (grid[0][:, 0], grid[1][:, 0]),
        "label": (grid[0][:, 0], grid[1][:, 0]),
        "row": (grid[0][:-1, 0], grid[0][1:, 0]),
        "column": (grid[0][:, 0], grid[0][:, 1]),
    }[what]
    assert_uniform(integers(first, 8) * 8 + integers(second, 8), 64)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_ordered_choice_of_distinct_integers_is_equally_likely(count):
    chosen = distinct_integers(Stream("distinct", count).words(12_000, count), 4)
    assert chosen.shape == (12_000, count)
    seen = Counter(map(tuple, chosen.tolist()))
    choices = list(permutations(range(4), count))
    assert set(seen) == set(choices)
    expected = 12_000 / len(choices)
    statistic = sum((seen[one] - expected) ** 2 / expected for one in choices)
    assert statistic < chi2.ppf(1 - 1e-4, len(choices) - 1)


def test_as_many_distinct_integers_as_there_are_make_a_permutation():
    orders = distinct_integers(Stream("order").words(50, 9), 9)
    assert np.array_equal(np.sort(orders, axis=1), np.tile(np.arange(9), (50, 1)))
    assert len({*map(tuple, orders.tolist())}) == 50


def test_a_row_of_distinct_integers_depends_on_its_own_words_alone():
    words = Stream("rows").words(20, 5)
    many = distinct_integers(words, 1000)
    assert np.array_equal(distinct_integers(words[7:9], 1000), many[7:9])


def test_more_distinct_integers_than_there_are_are_refused():
    with pytest.raises(ValueError, match="4 different numbers below 3"):
        distinct_integers(Stream("too many").words(2, 4), 3)
