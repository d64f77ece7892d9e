"""What a check is, and which there are."""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

Check = Callable[[Path, Path], list[str]]


@dataclass(frozen=True)
class Rule:
    """A check, and the files that it is for.

    Attributes:
        name: what is said of it.
        patterns: of paths below the repository's root; a star goes over slashes too.
        check: called with the root and the path of a file; the problems that it found.
        tools: programs that it needs beside Python.
    """

    name: str
    patterns: tuple[str, ...]
    check: Check
    tools: tuple[str, ...] = ()

    def concerns(self, path: Path) -> bool:
        """Whether a path, relative to the root, is one of its files."""
        return any(fnmatch(path.as_posix(), pattern) for pattern in self.patterns)
