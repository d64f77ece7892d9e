"""What is known of a data set before any of its files is there."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from longhaul_trainers.data.columns import Parts
from longhaul_trainers.data.folders import VARIABLE, data_folder
from longhaul_trainers.errors import MissingDataError

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")


@dataclass(frozen=True)
class Form:
    """One form in which a data set may come.

    Attributes:
        what: in words, ``an npz file with x_train, y_train, x_test and y_test``.
        files: names relative to the data folder (or absolute); all of them must be there.
        read: makes tables of the files, in the order of ``files``; whatever it raises is told to
            the user as the reason why a file cannot be used. It never unpickles.
        folders: where in the data folder the files may be, all in the same.
        endings: what may follow each name, for example also ``.gz``.
    """

    what: str
    files: tuple[str, ...]
    read: Callable[[Sequence[Path]], Parts]
    folders: tuple[str, ...] = ("",)
    endings: tuple[str, ...] = ("",)

    def find(self) -> tuple[Path, ...] | None:
        """The files, where all of them are there."""
        root = data_folder() or Path()
        if data_folder() is None and not all(Path(name).is_absolute() for name in self.files):
            return None
        for folder in self.folders:
            found = [self._first(root / folder / name) for name in self.files]
            if all(found):
                return tuple(path for path in found if path)
        return None

    def names(self) -> list[str]:
        """The files as a user would be told to name them, in the first of the folders."""
        return [(Path(self.folders[0]) / name).as_posix() for name in self.files]

    def _first(self, path: Path) -> Path | None:
        named = (path.with_name(path.name + ending) for ending in self.endings)
        return next((one for one in named if one.is_file()), None)


@dataclass(frozen=True)
class DataSet:
    """Data that tasks read from a user's files, or from a package that is there anyway.

    Attributes:
        name: letters, digits, ``_``, ``-``, ``.``.
        summary: one line: how many of what.
        forms: the forms that are understood; the first one whose files are there is taken.
        source: from where to get it, and what to call it.
        licence: as far as known.
        stand_in: a task that does the same job offline, as a space has it; empty if none.
        content_sha256: `columns.content_sha256` of what the literature used; empty if unknown.
        refused: files that users have instead, and why they are of no use.
        bundled: reads data that a package brings along; there are no forms then.
        version: counts up when ``read`` makes other tables of the same files.
        variant: what else the tables depend on, where a task makes the data set itself.
    """

    name: str
    summary: str
    forms: tuple[Form, ...]
    source: str
    licence: str
    stand_in: str = ""
    content_sha256: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    bundled: Callable[[], Parts] | None = None
    version: int = 1
    variant: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a data set")

    def find(self) -> tuple[Form, tuple[Path, ...]] | None:
        """The first form whose files are there, and the files."""
        for form in self.forms:
            files = form.find()
            if files:
                return form, files
        return None

    def require(self) -> tuple[Form, tuple[Path, ...]]:
        """As `find`.

        Raises:
            MissingDataError: no form is complete; the message says what to put where.
        """
        found = self.find()
        if found is None:
            raise MissingDataError(self.missing())
        return found

    def missing(self) -> str:
        """Which files are missing, where they were looked for, from where to get them."""
        folder = data_folder()
        looked = f"in {VARIABLE}={folder}" if folder else f"nowhere, since {VARIABLE} is not set"
        lines = [f"data set {self.name!r} is not there; looked for it {looked}"]
        if folder and not folder.is_dir():
            lines[0] += ", which is no folder"
        for number, form in enumerate(self.forms):
            word = "or" if number else "expected"
            lines.append(f"  {word} {', '.join(form.names())} ({form.what})")
        lines += [f"  found {name}: {why}" for name, why in self._refused_here()]
        lines.append(f"  from {self.source}")
        if not folder:
            lines.append(f"  then: export {VARIABLE}=FOLDER")
        if self.stand_in:
            lines.append(f"  offline, the same job does: {self.stand_in}")
        return "\n".join(lines)

    def _refused_here(self) -> list[tuple[str, str]]:
        folder = data_folder()
        if folder is None:
            return []
        return [(name, why) for name, why in self.refused.items() if (folder / name).exists()]
