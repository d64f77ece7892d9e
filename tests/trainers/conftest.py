import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """A matmul split over threads adds up in another order: equal bits are promised for one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
