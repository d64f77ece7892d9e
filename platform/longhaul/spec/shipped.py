"""The spaces and suites that come with Longhaul, and what names on the command line mean."""

from collections.abc import Sequence
from pathlib import Path

import longhaul
from longhaul.errors import RequestError
from longhaul_trainers.errors import nearest

SUITES = "suites"
"""The folder beside the spaces that holds the suites."""


def spaces_root() -> Path:
    """The folder of the shipped spaces: inside the installed package, or that of the checkout."""
    package = Path(longhaul.__file__).parent
    packaged = package / "_search_spaces"
    return packaged if packaged.is_dir() else package.parents[1] / "search_spaces"


def shipped_spaces() -> dict[str, Path]:
    """The files by name, which is the path below the root without suffix: ``copying/exprnn``."""
    found = _files(spaces_root())
    return {name: path for name, path in found.items() if name.split("/")[0] != SUITES}


def shipped_suites() -> dict[str, Path]:
    """The files of the suites by name."""
    return _files(spaces_root() / SUITES)


def _files(root: Path) -> dict[str, Path]:
    found = {
        path.relative_to(root).with_suffix("").as_posix(): path for path in root.rglob("*.yaml")
    }
    return {name: found[name] for name in sorted(found)}


def find_space(given: str) -> tuple[Path, str]:
    """The file that a SPACE stands for, and the name of a search over it.

    An existing file comes first; whatever ends in ``.yaml`` or ``.yml`` must be one; all else is
    the name of a shipped space.

    Args:
        given: a file or the name of a shipped space.

    Returns:
        The file, and its name: the file's stem, or a shipped space's name with dashes for slashes.

    Raises:
        RequestError: neither; with the nearest name.
    """
    return _find(given, shipped_spaces(), "space", list(shipped_suites()))


def find_suite(given: str) -> tuple[Path, str]:
    """The file that a SUITE stands for, and the suite's name; as `find_space`.

    A shipped suite may be called ``suites/NAME`` too.
    """
    known = shipped_suites()
    short = given.removeprefix(f"{SUITES}/")
    return _find(short if short in known else given, known, "suite")


def _find(
    given: str, known: dict[str, Path], noun: str, others: Sequence[str] = ()
) -> tuple[Path, str]:
    path = Path(given)
    if path.is_file():
        return path, _own_name(path)
    if path.suffix in (".yaml", ".yml"):
        raise RequestError(f"{given}: no such file; {_hint(given, known, noun, others)}")
    if given in known:
        return known[given], _own_name(known[given])
    if path.is_dir() and given:
        raise RequestError(f"{given}: a folder; expected a YAML file or a shipped {noun}")
    hint = _hint(given, known, noun, others)
    raise RequestError(f"{given!r}: neither a file nor a shipped {noun}; {hint}")


def _own_name(path: Path) -> str:
    root = spaces_root().resolve()
    resolved = path.resolve()
    if resolved.is_relative_to(root / SUITES):
        root = root / SUITES
    if resolved.is_relative_to(root):
        return "-".join(resolved.relative_to(root).with_suffix("").parts)
    return path.stem


def _hint(given: str, known: dict[str, Path], noun: str, others: Sequence[str]) -> str:
    path = Path(given)
    beside = path.with_name(path.name + ".yaml") if path.name else path
    if beside.is_file():
        return f"did you mean the file {beside}?"
    bare = path.with_suffix("") if path.suffix in (".yaml", ".yml") else path
    for name in (bare.as_posix(), bare.name):
        if name in known:
            return f"did you mean the shipped {noun} {name!r}?"
    return nearest(given, [*known, *others])
