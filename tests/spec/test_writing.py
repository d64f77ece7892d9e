"""YAML that is written is read back as the same values."""

import math

import pytest
import yaml

from longhaul.spec.loading import read_text
from longhaul.spec.writing import to_yaml

TEXTS = [
    "yes", "No", "on", "off", "y", "~", "null", "NULL", "true", "1", "-1", "+1", "1e-3", "1E5",
    ".5", "5.", "0x1F", "0o7", "0b1", "1_000", "12:30", "2024-05-01", ".inf", "-.Inf", ".nan", "<<",
    "=", "", " ", " a", "a ", "a: b", "a #b", "- a", "[a", "{a", "*a", "&a", "!a", "%a", "@a", "`a",
    "|", ">", "'", '"', "\\", "a\nb", "\n", "a\n\n b\n", "\t", "\r", "\x00", "\x07", "\x1b",
    "\x7f", "\x85", "\xa0", "a\u2028b", "\u2029", "\ufeff", "é", "漢字", "\U0001f600",
    "x" * 500, "x y " * 99,
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_texts(text):
    for value in (text, [text], {"k": text}, {"choice": [text, 1]}):
        assert read_text(to_yaml({"key": value}), "f").value == {"key": value}
        # and by a reader of YAML 1.1
        assert yaml.safe_load(to_yaml({"key": value})) == {"key": value}


@pytest.mark.parametrize(
    "number",
    [
        0,
        -1,
        2**63 - 1,
        0.0,
        1.0,
        1e-3,
        3e-4,
        1e16,
        1e22,
        1e-300,
        5e-324,
        math.pi,
        -1.5e300,
        0.1 + 0.2,
    ],
)
def test_numbers(number):
    written = to_yaml({"key": number})
    for found in (read_text(written, "f").value["key"], yaml.safe_load(written)["key"]):
        assert found == number
        assert type(found) is type(number)


def test_it_is_the_same_each_time_and_has_no_aliases():
    shared = {"k": [1, 2]}
    written = to_yaml({"b": shared, "a": shared})
    assert written == "b:\n  k: [1, 2]\na:\n  k: [1, 2]\n"
