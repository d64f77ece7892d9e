"""The search spaces that come with Longhaul, and what a SPACE on the command line means."""

from pathlib import Path

import longhaul
from longhaul.errors import RequestError
from longhaul_trainers.errors import nearest

SUITES = "suites"
"""The folder beside the spaces that holds something else."""


def spaces_root() -> Path:
    """The folder of the shipped spaces: inside the installed package, or that of the checkout."""
    package = Path(longhaul.__file__).parent
    packaged = package / "_search_spaces"
    return packaged if packaged.is_dir() else package.parents[1] / "search_spaces"


def shipped_spaces() -> dict[str, Path]:
    """The files by name, which is the path below the root without suffix: ``copying/exprnn``."""
    root = spaces_root()
    found = {
        path.relative_to(root).with_suffix("").as_posix(): path for path in root.rglob("*.yaml")
    }
    return {name: found[name] for name in sorted(found) if name.split("/")[0] != SUITES}


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
    path = Path(given)
    if path.is_file():
        return path, _own_name(path)
    known = shipped_spaces()
    if path.suffix in (".yaml", ".yml"):
        raise RequestError(f"{given}: no such file; {_hint(given, known)}")
    if given in known:
        return known[given], _own_name(known[given])
    if path.is_dir() and given:
        raise RequestError(f"{given}: a folder; expected a YAML file or a shipped space")
    raise RequestError(f"{given!r}: neither a file nor a shipped space; {_hint(given, known)}")


def _own_name(path: Path) -> str:
    root = spaces_root().resolve()
    resolved = path.resolve()
    if resolved.is_relative_to(root):
        return "-".join(resolved.relative_to(root).with_suffix("").parts)
    return path.stem


def _hint(given: str, known: dict[str, Path]) -> str:
    path = Path(given)
    beside = path.with_name(path.name + ".yaml") if path.name else path
    if beside.is_file():
        return f"did you mean the file {beside}?"
    bare = path.with_suffix("") if path.suffix in (".yaml", ".yml") else path
    for name in (bare.as_posix(), bare.name):
        if name in known:
            return f"did you mean the shipped space {name!r}?"
    return nearest(given, list(known))
