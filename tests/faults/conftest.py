"""Whole searches under faults: the projects of tests/search, the servers of tests/tracking."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent


def load(path: Path) -> ModuleType:
    """A file of the tests as a module: their folders are no packages."""
    name = f"faults_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_search = load(HERE.parent / "search" / "conftest.py")
_tracking = load(HERE.parent / "tracking" / "conftest.py")
_invariants = load(HERE / "invariants.py")

empty_mlflow = _search.empty_mlflow
new_project = _search.new_project
expected_history = _search.expected_history
recorded_history = _search.recorded_history
ready_database = _tracking.ready_database
new_mlflow_server = _tracking.new_mlflow_server
mlflow_server = _tracking.mlflow_server
fault_proxy = _tracking.fault_proxy


@pytest.fixture
def invariants(
    expected_history: Callable[..., object],
    recorded_history: Callable[..., object],
    content_of: Callable[..., object],
    equals_ledger: Callable[..., None],
    record_property: Callable[[str, object], None],
) -> Iterator[object]:
    """See `invariants.Invariants`; what it counted goes to the fault table."""
    checker = _invariants.Invariants(expected_history, recorded_history, content_of, equals_ledger)
    yield checker
    for name, count in checker.counted.items():
        record_property(name, count)
