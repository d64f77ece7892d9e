"""Reading YAML that may be hostile."""

import tracemalloc
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from longhaul.errors import RequestError
from longhaul.spec.loading import DEEPEST_NESTING, LARGEST_FILE_BYTES, read_file, read_text


def refusal(text: str) -> str:
    with pytest.raises(RequestError) as caught:
        read_text(text, "space.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("3e-4", 3e-4),
        ("1E5", 1e5),
        ("+1.5e+3", 1500.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-0", 0),
        ("010", 10),
        ("0o10", 8),
        ("0xfF", 255),
        ("9223372036854775807", 2**63 - 1),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("Yes", "Yes"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2024-05-01", "2024-05-01"),
        ("0b11", "0b11"),
        ("e5", "e5"),
        ("'1e-3'", "1e-3"),
        ('"true"', "true"),
    ],
)
def test_scalars_are_those_of_the_core_schema(text, value):
    found = read_text(f"key: {text}", "space.yaml").value["key"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", [".nan", ".NaN", ".inf", "-.Inf", "1e999", "-1e400"])
def test_numbers_are_finite(text):
    message = f"space.yaml:2: b.c: found {text}; expected a finite number"
    assert refusal(f"a: 1\nb: {{c: {text}}}") == message


def test_whole_numbers_have_63_bits():
    assert "a: found 9223372036854775808; expected" in refusal("a: 9223372036854775808")
    assert len(refusal("a: " + "9" * 100_000)) < 200


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system [echo]",
        "!!python/name:os.system",
        "!!str 1",
        "!!float 1",
        "!!set {a: null}",
        "!!binary aGk=",
        "!mine 1",
        "! 1",
        "!!map {a: 1}",
    ],
)
def test_tags_are_refused_where_they_stand(text):
    message = refusal(f"a: 1\nb:\n  c: {text}")
    assert message.startswith("space.yaml:3: b.c: found the tag '")
    assert message.endswith("no tag is read")


def test_an_undefined_tag_prefix_is_refused():
    assert refusal("a: !x!y 1").startswith("space.yaml:1: not valid YAML")


def test_the_loader_that_executes_would_have():
    # What the refused texts can do, or the test above would prove nothing.
    assert yaml.unsafe_load("!!python/object/apply:len [[1, 2]]") == 2


def test_a_bomb_of_aliases_is_refused_before_it_goes_off():
    lines = ["a0: &a0 [" + ", ".join(["x"] * 9) + "]"]
    lines += [f"a{i}: &a{i} [" + ", ".join([f"*a{i - 1}"] * 9) + "]" for i in range(1, 30)]
    tracemalloc.start()
    message = refusal("\n".join(lines))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert message.startswith("space.yaml:5: more than 10,000 values, aliases expanded")
    assert peak < 20e6


def test_a_bomb_of_mappings_is_refused_too():
    lines = ["a0: &a0 {k: v}"]
    lines += [f"a{i}: &a{i} {{p: *a{i - 1}, q: *a{i - 1}}}" for i in range(1, 30)]
    assert "more than 10,000 values" in refusal("\n".join(lines))


def test_many_values_without_aliases_are_refused():
    # the root, the key and the list are values too
    assert len(read_text("a:\n" + "- 1\n" * 9_997, "f").value["a"]) == 9_997
    message = refusal("a:\n" + "- 1\n" * 9_998)
    assert message.startswith("space.yaml:9999: more than 10,000 values")


def test_aliases_are_copies():
    value = read_text("a: &x {k: [1]}\nb: *x", "f").value
    assert value == {"a": {"k": [1]}, "b": {"k": [1]}}
    assert value["a"]["k"] is not value["b"]["k"]


@pytest.mark.parametrize("text", ["&x [*x]", "a: &x {b: *x}", "a: &x [1, [2, *x]]"])
def test_a_value_that_contains_itself_is_refused(text):
    assert "the alias *x refers to a part that contains it" in refusal(text)


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_depth_is_limited(opening):
    assert f"nested more than {DEEPEST_NESTING} levels" in refusal(opening * 100_000)


def test_depth_counts_what_aliases_expand_to():
    deep = "[" * 30 + "]" * 30
    read_text(f"a: &x {deep}\nb: *x", "f")
    assert "nested more than 40 levels" in refusal(f"a: &x {deep}\nb: {'[' * 15}*x{']' * 15}")


def test_the_deepest_allowed_is_allowed():
    read_text("[" * DEEPEST_NESTING + "]" * DEEPEST_NESTING, "f")
    one_more = DEEPEST_NESTING + 1
    assert "levels" in refusal("[" * one_more + "]" * one_more)


def test_size_is_limited(tmp_path: Path):
    file = tmp_path / "large.yaml"
    file.write_text("#" * LARGEST_FILE_BYTES, encoding="utf-8")
    assert read_file(file).value is None
    file.write_text("#" * (LARGEST_FILE_BYTES + 1), encoding="utf-8")
    with pytest.raises(RequestError, match="more than 1,000,000 bytes"):
        read_file(file)


def test_repeated_keys_name_both_lines():
    message = "space.yaml:4: b.c: given twice, first in line 3"
    assert refusal("a: 1\nb:\n  c: 1\n  c: 2") == message


@pytest.mark.parametrize("key", ["1", "1.5", "true", "null", "~"])
def test_keys_are_texts(key):
    assert refusal(f"a:\n  {key}: 1").startswith("space.yaml:2: a: found the key ")


@pytest.mark.parametrize("key", ["[1, 2]", "{a: 1}"])
def test_keys_are_no_collections(key):
    assert "expected a text as key" in refusal(f"? {key}\n: 1")


def test_merge_keys_are_refused_by_name():
    assert "found the merge key '<<'" in refusal("a: &x {b: 1}\nc:\n  <<: *x")


def test_dots_in_keys_are_refused():
    assert "nest the mapping instead" in refusal("cell.hidden_size: 3")


@pytest.mark.parametrize("text", ["a: 1\n---\nb: 2", "---\na: 1\n...\n---\n", "a: 1\n--- b"])
def test_several_documents_are_refused(text):
    assert "found a second document" in refusal(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [1, 2", 2),
        ("a: 1\n\tb: 2", 2),
        ("a: 'x", 1),
        ("a: *nothing", 1),
        ("a: 1\nb: 2\n c: 3", 3),
        ("%YAML 9.9\n---\na: 1", 1),
        ("a: \x07", 1),
        ("a: 1\nb: \ud800", 2),
        ('a: "\\UFFFFFFFF"', 1),
        ('a: "\\U00110000"', 1),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_line(text, line):
    assert refusal(text).startswith(f"space.yaml:{line}: not valid YAML: ")


def test_half_a_character_is_refused():
    # it could be read, but never written again
    assert "half of a surrogate pair" in refusal('a: "\\ud800"')


def test_messages_have_no_control_characters_and_an_end():
    assert "\x1b" not in refusal('"\\e[31m": 1\n"\\e[31m": 2')
    assert len(refusal(f"{'k' * 100_000}: 1\n{'k' * 100_000}: 2")) < 2_000


def test_every_value_knows_its_line():
    document = read_text("a: 1\nb:\n  c: [5,\n   6]\n  d: {e: x}\n", "f.yaml")
    lines = {
        (): 1,
        ("a",): 1,
        ("b",): 2,
        ("b", "c"): 3,
        ("b", "c", 0): 3,
        ("b", "c", 1): 4,
        ("b", "d", "e"): 5,
    }
    assert {path: document.origin(path) for path in lines} == {
        path: f"f.yaml:{line}" for path, line in lines.items()
    }
    assert document.origin(("b", "c", 7, "new")) == "f.yaml:3"


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "a folder"),
        (lambda path: path.write_bytes(b"a: 1\nb: \xff\xfe"), ":2: not UTF-8"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, made, message):
    path = tmp_path / "space.yaml"
    made(path)
    with pytest.raises(RequestError, match=message) as caught:
        read_file(path)
    assert str(caught.value).startswith(str(path))


@given(st.text(max_size=60) | st.text("[]{}&*!-?:,'\"|>%#\n ab1.~\\", max_size=60))
def test_any_text_is_read_or_refused_in_one_line(text):
    found = value_or_message(text)
    if isinstance(found, RequestError):
        assert "\n" not in str(found)
    else:
        assert plain(found)


def value_or_message(text: str) -> object:
    try:
        return read_text(text, "f").value
    except RequestError as error:
        return error


def plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and plain(one) for key, one in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    return value is None or type(value) in (str, int, float, bool)
