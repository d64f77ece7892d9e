"""What two machines must have in common to work on one search, and what to do where they do not."""

import hashlib
import platform
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from longhaul import __version__
from longhaul.errors import RequestError

PACKAGES = ("ray", "torch", "numpy")
CODE_SUFFIXES = {".py", ".cpp", ".hpp", ".yaml"}


def versions_here() -> dict[str, str]:
    """The versions of this process: Longhaul's with a hash of its code, Python, and `PACKAGES`."""
    found = {"longhaul": f"{__version__} (code {_code()})", "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def differences(ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """What differs in a way that matters, ours first.

    Builds of torch for different devices may work together, and so may Pythons of one minor and
    NumPys of one major version; all else must be equal.
    """
    return {
        name: (ours[name], theirs.get(name, "none"))
        for name in ours
        if _essence(name, ours[name]) != _essence(name, theirs.get(name, "none"))
    }


def refuse_differences(
    ours: Mapping[str, str], theirs: Mapping[str, str], here: str, there: str
) -> None:
    """Refuses to let two machines work together that would not do the same.

    Args:
        ours: the versions of one.
        theirs: those of the other.
        here: what to call the first.
        there: what to call the other.

    Raises:
        RequestError: with every difference and how to mend it.
    """
    found = differences(ours, theirs)
    if not found:
        return
    raise RequestError(f"{here} and {there} differ: {told(found)}; {mend(found)}")


def told(found: Mapping[str, tuple[str, str]]) -> str:
    """Differences as a text."""
    return ", ".join(f"{name} {one} and {other}" for name, (one, other) in found.items())


def mend(found: Mapping[str, tuple[str, str]]) -> str:
    """What to do about differences."""
    theirs = {name: other for name, (_, other) in found.items()}
    if set(found) == {"longhaul"}:
        ours, other = found["longhaul"]
        if _number(ours) == _number(other):
            return "the version is the same, but one was edited: submit a wheel of it, --wheel FILE"
        return f"install longhaul {_number(other)}, or submit this one's wheel: --wheel FILE"
    pins = [f"{name}=={_number(one)}" for name, one in theirs.items() if name != "python"]
    if "python" in theirs:
        pins.insert(0, f"Python {theirs['python']}")
    return f"give both the same, for example {', '.join(pins)}"


def _number(version_text: str) -> str:
    return version_text.partition(" ")[0].partition("+")[0]


def _essence(name: str, text: str) -> str:
    if name == "torch":
        return text.partition("+")[0]
    if name == "python":
        return ".".join(text.split(".")[:2])
    if name == "numpy":
        return text.partition(".")[0]
    return text


@cache
def _code() -> str:
    """Eight digits over the source of both packages, so that an edited checkout is told apart."""
    import longhaul
    import longhaul_trainers

    digest = hashlib.sha256()
    for package in (longhaul, longhaul_trainers):
        root = Path(package.__file__ or "").parent
        for path in _sources(root):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def _sources(root: Path) -> Iterable[Path]:
    # In a wheel the spaces lie inside the package, in a checkout beside it.
    found = (path for path in root.rglob("*") if path.suffix in CODE_SUFFIXES)
    return sorted(path for path in found if "_search_spaces" not in path.parts)
