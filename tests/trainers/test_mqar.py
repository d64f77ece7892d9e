"""Recall of several keys: who is a key, where queries come, what is ignored."""

import math

import pytest
import torch
from scipy.stats import chi2

from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import parse
from longhaul_trainers.tasks.base import IGNORED
from longhaul_trainers.tasks.mqar import MQAR, MQARSettings

BATCH_AND_STEPS = {
    "arora-2024": (512, 64 * math.ceil(100_000 / 512)),
    "arora-2024-based": (256, 32 * (math.ceil(100_000 / 256) + 4 * math.ceil(20_000 / 256))),
}


def mqar(protocol="arora-2024", **settings):
    return MQAR(MQARSettings(protocol=protocol, **settings))


def test_every_protocol_is_written_down_here():
    assert set(BATCH_AND_STEPS) == set(MQAR.protocols)


@pytest.mark.parametrize("name", BATCH_AND_STEPS)
def test_training_as_published(name):
    protocol = mqar(name).protocol
    assert (protocol.batch_size, protocol.steps) == BATCH_AND_STEPS[name]


@pytest.mark.parametrize("name", BATCH_AND_STEPS)
@pytest.mark.parametrize("pairs", [1, 4, 16])
def test_pairs_come_first_and_each_key_is_asked_for_once(name, pairs):
    batch = mqar(name, pairs=pairs).training_batch(0, 3, 30)
    codes = batch.inputs.argmax(2)
    keys, values = codes[0 : 2 * pairs : 2], codes[1 : 2 * pairs : 2]
    for codes_of, first, last in ((keys, 1, 63), (values, 64, 127)):
        assert codes_of.min() >= first
        assert codes_of.max() <= last
        assert all(len(set(one.tolist())) == pairs for one in codes_of.T)
    for b in range(30):
        counted = (batch.targets[:, b] != IGNORED).nonzero().flatten().tolist()
        assert len(counted) == pairs
        assert min(counted) >= 2 * pairs
        assert all(t % 2 == 0 for t in counted)
        answers = dict(zip(keys[:, b].tolist(), values[:, b].tolist(), strict=True))
        found = {codes[t, b].item(): batch.targets[t, b].item() for t in counted}
        assert found == answers


@pytest.mark.parametrize("room", [4, 5])
def test_gaps_follow_the_power_law_without_replacement(room):
    """Of ordered pairs of gaps, the second is drawn among those that are left."""
    batch = mqar(pairs=2, length=4 + 2 * room, vocabulary=32).evaluation_set("test", 4000)
    codes = batch.inputs.argmax(2)
    places = [(codes[4:] == codes[i]).int().argmax(0) // 2 for i in (0, 2)]
    weights = [(gap + 1) ** (0.01 - 1) for gap in range(room)]
    statistic, cells = 0.0, 0
    for first in range(room):
        for second in set(range(room)) - {first}:
            left = sum(weights) - weights[first]
            expected = 4000 * weights[first] / sum(weights) * weights[second] / left
            seen = ((places[0] == first) & (places[1] == second)).sum().item()
            statistic += (seen - expected) ** 2 / expected
            cells += 1
    assert statistic < chi2.ppf(1 - 1e-4, cells - 1)


def test_fillers_are_one_symbol_or_any():
    same = mqar().evaluation_set("validation", 200)
    rest = (same.targets == IGNORED)[8:]
    assert (same.inputs[8:].argmax(2)[rest] == 0).all()
    any_symbol = mqar("arora-2024-based").evaluation_set("validation", 200)
    counts = torch.bincount(any_symbol.inputs[8:].argmax(2)[rest], minlength=128).double()
    expected = rest.sum() / 128
    assert ((counts - expected) ** 2 / expected).sum() < chi2.ppf(1 - 1e-4, 127)


def test_protocols_share_pairs_and_queries():
    one, other = (mqar(name).training_batch(4, 4, 10) for name in BATCH_AND_STEPS)
    assert torch.equal(one.targets, other.targets)
    assert torch.equal(one.inputs[:8], other.inputs[:8])


def test_baseline_is_the_logarithm_of_the_values():
    assert mqar().baseline == pytest.approx(math.log(64))
    assert mqar(vocabulary=8192).baseline == pytest.approx(math.log(4096))


def test_evaluation_set_never_changes():
    hashes = [mqar(name).evaluation_hash("validation", 100) for name in BATCH_AND_STEPS]
    assert hashes == SHA256


# Recorded once. A change here means that no earlier result can be compared with a later one.
SHA256 = [
    "ec39ef9bcf569021101f6baabaa305e83ab333ab1acda8d4e9307c6058d460a8",
    "935680b69255e78a5bd4b2771f00d94de9b6efaf78a55b07c999f164e6052890",
]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length": 63}, "length: expected an even number, found 63"),
        ({"pairs": 17}, r"pairs: expected at most length / 4 = 16, found 17"),
        ({"vocabulary": 64}, "vocabulary: expected an even number > length 64, found 64"),
        ({"vocabulary": 129}, "vocabulary: expected an even number > length 64, found 129"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(SettingError, match=rf"^task\.{message}"):
        parse(MQARSettings, settings, "task")


def test_the_least_vocabulary_has_room_for_all_keys():
    task = mqar(length=4, pairs=1, vocabulary=6)
    assert task.training_batch(0, 0, 50).inputs.argmax(2)[0].max() <= 2
