import json
import math
from datetime import UTC, datetime, timedelta, timezone

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longhaul.ledger import Event, EventKind, LedgerFormatError
from longhaul.ledger.events import decode, encode, intact_lines

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def event(sequence=0, **data):
    return Event(sequence, 1, datetime(2026, 1, 2, 3, 4, 5, 6, UTC), EventKind.REPORTED, 7, data)


def same(one, other):
    """Equality in which NaN equals NaN and -0.0 differs from 0.0."""
    return repr(one) == repr(other)


@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_every_value_comes_back(data):
    original = (
        event(**{"step": 1})
        if not data
        else Event(3, 2, datetime.now(UTC), EventKind.OPENED, None, data)
    )
    line = encode(original)
    assert line.count(b"\n") == 1
    [found] = intact_lines(line)
    assert (found.sequence, found.fence, found.raw) == (original.sequence, original.fence, line)
    assert same(decode(found.raw), original)


def test_a_line_is_json_for_any_program():
    line = encode(event(value=math.nan, all=[math.inf, -math.inf]))
    record = json.loads(line, parse_constant=lambda name: pytest.fail(name))
    assert record["data"] == {
        "value": {"$float": "nan"},
        "all": [{"$float": "inf"}, {"$float": "-inf"}],
    }
    assert record["sequence"] == 0
    assert record["time"] == "2026-01-02T03:04:05.000006+00:00"


def test_numbers_of_numpy_are_numbers():
    data = {
        "a": numpy.float32(0.1),
        "b": numpy.int64(3),
        "c": numpy.float64("nan"),
        "d": numpy.float32("inf"),
    }
    got = decode(encode(event(**data))).data
    assert got["a"] == float(numpy.float32(0.1))
    assert got["b"] == 3
    assert math.isnan(got["c"])
    assert got["d"] == math.inf


def test_what_json_cannot_hold_is_refused():
    with pytest.raises(TypeError, match="object"):
        encode(event(value=object()))


def test_times_are_utc():
    local = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=9)))
    got = decode(encode(Event(0, 1, local, EventKind.OPENED)))
    assert got.time == local
    assert got.time.utcoffset() == timedelta(0)


def test_a_newer_format_is_not_mistaken_for_damage():
    import zlib

    body = encode(event())[18:-1].replace(b'"format":1', b'"format":2')
    line = b'{"crc":"%08x",' % zlib.crc32(body) + body + b"\n"
    with pytest.raises(LedgerFormatError, match="newer version"):
        intact_lines(line)


@pytest.mark.fault("torn-events", "events cut at every byte")
def test_a_cut_at_every_byte_keeps_everything_before_it():
    lines = [encode(event(number, value=0.5**number, note="é\n")) for number in range(4)]
    whole = b"".join(lines)
    ends = [len(b"".join(lines[: number + 1])) for number in range(4)]
    for cut in range(len(whole) + 1):
        found = [line.sequence for line in intact_lines(whole[:cut])]
        # The newline at its end adds nothing to a line.
        assert found == [number for number, end in enumerate(ends) if end - 1 <= cut]


def test_a_changed_byte_costs_at_most_the_line_it_is_in():
    lines = [encode(event(number, value=0.5**number)) for number in range(3)]
    whole = b"".join(lines)
    for position in range(len(whole)):
        hit = next(n for n in range(3) if position < len(b"".join(lines[: n + 1])))
        for change in (1, 2, 0x20, 0x80, 0xFF, whole[position] ^ 0x0A):
            if not change:
                continue
            broken = bytearray(whole)
            broken[position] ^= change
            found = intact_lines(bytes(broken))
            in_newline = whole[position] == 0x0A
            expected = [n for n in range(3) if n != hit or in_newline]
            assert [line.sequence for line in found] == expected
            assert all(line.raw == lines[line.sequence] for line in found)


@given(st.binary(max_size=200))
def test_rubbish_is_no_event(content):
    assert intact_lines(content) == []
