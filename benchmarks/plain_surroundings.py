"""What a search of the plain stack stands on, to be broken: that of the tests, in their words."""

import importlib.util
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from plain_life import QUIET

TESTS = Path(__file__).parents[1] / "tests"


def _load(path: str) -> ModuleType:
    """A file of the tests as a module: their folders are no packages."""
    spec = importlib.util.spec_from_file_location(f"plain_{Path(path).stem}", TESTS / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def mlflow_server(folder: Path, backend: str = "") -> Iterator[Any]:
    """An MLflow server on a database of its own, or on this one."""
    from longhaul.tracking.connection import connect

    connect(f"sqlite:///{folder}/ready.db")
    server = _load("tracking/conftest.py").Server(folder / "ready.db", folder, backend)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class _Proxy:
    """A proxy that spoils a share of the requests."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.uri: str = inner.uri

    def fail(self, share: float, delay_s: float) -> None:
        """So many are answered 500 after they were carried out; all are slow."""
        dice = random.Random(0)
        self._inner.delay_s = delay_s
        self._inner.fault = lambda method, path: "after" if dice.random() < share else "pass"


@contextmanager
def fault_proxy(uri: str) -> Iterator[_Proxy]:
    """Before an MLflow server."""
    inner = _load("tracking/conftest.py").FaultProxy(uri)
    try:
        yield _Proxy(inner)
    finally:
        inner.close()


@contextmanager
def postgres() -> Iterator[Any]:
    """PostgreSQL."""
    module = _load("support/postgres_server.py")
    if module.why_not():
        raise LookupError(module.why_not())
    with tempfile.TemporaryDirectory(prefix="plain-postgres-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        with module.started(Path(name) / "server") as server:
            yield server


@contextmanager
def cluster(*cpus: int) -> Iterator[Any]:
    """Several nodes of Ray, the head first."""
    with tempfile.TemporaryDirectory(prefix="plain-cluster-", ignore_cleanup_errors=True) as name:
        nodes = _load("support/clusters.py").Raylets(Path(name), cpus, os.environ | QUIET)
        try:
            yield nodes
        finally:
            nodes.close()


@contextmanager
def network() -> Iterator[Any]:
    """A head and a node of Ray with a cable between them."""
    module = _load("support/clusters.py")
    if not module.can_cut():
        raise LookupError("network namespaces need root, ip, nsenter and tc")
    with tempfile.TemporaryDirectory(prefix="plain-network-", ignore_cleanup_errors=True) as name:
        cable = module.Network(Path(name), os.environ | QUIET)
        try:
            yield cable
        finally:
            cable.close()
