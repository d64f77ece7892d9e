"""Oracles: files in ``tests/trainers/KIND_oracles`` that answer without the code that they check.

They are found by name, so that a contract test covers whatever the catalogue lists.
"""

import importlib.util
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "trainers"


@cache
def oracle(kind, name):
    """One oracle as a module; ``kind`` is ``cell``, ``matrix`` or ``task``."""
    path = FOLDER / f"{kind}_oracles" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{kind}_oracle_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def oracles(kind):
    """All oracles of a kind by name."""
    paths = sorted((FOLDER / f"{kind}_oracles").glob("*.py"))
    return {path.stem: oracle(kind, path.stem) for path in paths}
