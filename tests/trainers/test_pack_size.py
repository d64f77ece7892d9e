"""Where more slots stop paying, from measured speeds and memories."""

import pytest

from longhaul_trainers.training.pack_size import Trying, pack_size


def device(full_at, memory_of_one=1e-4, limit=256):
    """A device on which slots are free until ``full_at`` of them; and what was tried on it."""
    tried = []

    def attempt(size):
        tried.append(size)
        if size * memory_of_one > 1:
            return None
        return Trying(float(min(size, full_at)), size * memory_of_one)

    return pack_size(attempt, limit), tried


@pytest.mark.parametrize(("full_at", "size"), [(1, 1), (2, 2), (16, 16), (40, 64), (1000, 256)])
def test_slots_are_doubled_as_long_as_they_pay(full_at, size):
    assert device(full_at)[0] == size


def test_no_more_than_are_wanted():
    assert device(1000, limit=20) == (16, [1, 2, 4, 8, 16])


def test_what_would_not_fit_is_not_even_tried():
    assert device(1000, memory_of_one=0.1) == (8, [1, 2, 4, 8])
    assert device(1000, memory_of_one=0.5) == (1, [1])


def test_memory_that_grows_faster_than_the_slots_ends_it():
    sizes = {1: 0.05, 2: 0.2, 4: 0.9}
    assert pack_size(lambda size: Trying(float(size), sizes[size])) == 2
    assert pack_size(lambda size: Trying(float(size), 0.1) if size < 4 else None) == 2


def test_one_is_left_even_if_it_does_not_fit():
    assert pack_size(lambda size: None) == 1
