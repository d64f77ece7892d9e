import importlib
import sys

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """A matmul split over threads adds up in another order: equal bits are promised for one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


FUSED = "longhaul_trainers.scans.fused"
KERNELS = [f"{FUSED}.{name}_kernels" for name in ("phi", "elman", "elementwise")]


@pytest.fixture
def interpreted(monkeypatch):
    """Kernels are made for the interpreter or for a device when their module is imported."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    for name in KERNELS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    loaded = [importlib.import_module(name) for name in KERNELS]
    yield
    for module in loaded:
        sys.modules.pop(module.__name__, None)
        delattr(sys.modules[FUSED], module.__name__.rpartition(".")[2])
