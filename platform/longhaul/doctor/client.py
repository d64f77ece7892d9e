"""The Python that runs ``longhaul``, and the packages in it."""

import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from longhaul.doctor.finding import Finding, ok, problem, warning

PART = "client"
TESTED = Path(__file__).parents[3] / "infra/constraints/cpu.txt"
"""The versions that were tested together; only a checkout has them."""
_LEAST = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,-]*\])?\s*>=\s*(?P<least>[\d.]+)")
"""What pyproject.toml asks for: lower bounds, and for extras something with a marker behind it."""


def check_client(tested: Path = TESTED) -> Iterator[Finding]:
    """Python and the packages that Longhaul needs, against its own metadata.

    Args:
        tested: a constraints file with the versions that were tested together.
    """
    try:
        needed = [had for one in requires("longhaul") or [] if (had := _LEAST.fullmatch(one))]
        python = _least(str(metadata("longhaul").json.get("requires_python", "")))
    except PackageNotFoundError:
        yield problem(PART, "longhaul is not installed in this Python", "pip install -e .")
        return
    if sys.version_info < python:
        wanted = ".".join(map(str, python))
        message = f"Python {platform.python_version()}, but longhaul needs {wanted} or newer"
        yield problem(PART, message, "make PYTHON=python3.12 search, or a new environment")
    else:
        yield ok(PART, f"Python {platform.python_version()}, {sys.prefix}")
    install = _install(tested)
    found: dict[str, str] = {}
    for one in needed:
        name, least = one["name"], one["least"]
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            yield problem(PART, f"{name} is missing; longhaul needs {one[0]}", install)
            continue
        if _least(found[name]) < _least(least):
            yield problem(PART, f"{name} {found[name]}, but longhaul needs {one[0]}", install)
    yield from _against_tested(found, tested, install)


def _least(text: str) -> tuple[int, ...]:
    """The numbers of a version, or of a lower bound such as ``>=3.11``; a build's name is none."""
    return tuple(int(one) for one in re.findall(r"\d+", text.partition("+")[0]))


def _against_tested(found: dict[str, str], tested: Path, install: str) -> Iterator[Finding]:
    shown = f"longhaul {version('longhaul')}, " + ", ".join(
        f"{name} {found[name]}" for name in ("ray", "optuna", "mlflow", "torch") if name in found
    )
    if not tested.exists():
        yield ok(PART, shown)
        return
    pairs = (line.partition("==") for line in tested.read_text(encoding="utf-8").splitlines())
    pinned = {name.strip().lower(): pin.strip() for name, sign, pin in pairs if sign}
    others = [
        f"{name} {have} (tested: {pinned[name.lower()]})"
        for name, have in found.items()
        # a build for some device, such as 2.13.0+cpu, is of the same version
        if name.lower() in pinned and have.partition("+")[0] != pinned[name.lower()]
    ]
    if others:
        message = f"other versions than were tested together: {', '.join(others)}"
        yield warning(PART, message, install)
    else:
        yield ok(PART, f"{shown}; the versions that were tested together")


def _install(tested: Path) -> str:
    if tested.exists():
        return "pip install -c infra/constraints/cpu.txt -e ."
    return "pip install --upgrade longhaul"
