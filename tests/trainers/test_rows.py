"""Aligned rows of examples."""

from longhaul_trainers.tasks.rows import aligned, ends


def test_stretches_left_out_become_one_mark():
    rows = {"input": list("abcdefgh"), "target": ["-"] * 7 + ["10"]}
    assert aligned(rows, {0, 1, 5, 7}) == [
        "input    a  b …  f …  h",
        "target   -  - …  - … 10",
    ]
    assert aligned(rows, {2}) == ["input   … c …", "target  … - …"]


def test_all_steps_are_shown_if_none_are_named():
    assert aligned({"a long name": ["1", "2"]}) == ["a long name 1 2"]


def test_ends_are_all_of_a_short_sequence():
    assert ends(4, 3, 3) == {0, 1, 2, 3}
    assert ends(9, 2, 1) == {0, 1, 8}
