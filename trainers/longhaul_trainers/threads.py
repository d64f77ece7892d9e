"""Which thread computes what, so that no bit depends on how many threads there are.

A library's matrix product is split among threads, along its sums too, so that it adds up in another
order on two threads than on one; factorisations do the same. The compiled scans are split by slots
and by sequences, whose arithmetic is the same whichever thread does it. So only they get the
threads that training is given; all else runs on one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_for_scans: ContextVar[int | None] = ContextVar("threads_for_scans", default=None)


def threads_for_scans() -> int:
    """How many threads a compiled scan may take."""
    return _for_scans.get() or torch.get_num_threads()


@contextmanager
def one_thread_but_scans() -> Iterator[None]:
    """Within it torch computes on one thread; compiled scans take as many as torch had before."""
    before = torch.get_num_threads()
    token = _for_scans.set(threads_for_scans())
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _for_scans.reset(token)
