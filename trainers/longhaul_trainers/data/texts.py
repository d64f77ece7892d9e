"""Texts as codes of characters: the Penn Treebank, Python's own documentation, any text file."""

import hashlib
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from longhaul_trainers.data.columns import Parts
from longhaul_trainers.data.data_set import DataSet, Form
from longhaul_trainers.data.folders import data_folder
from longhaul_trainers.errors import MissingDataError, UnusableDataError

PARTS: Final = ("train", "validation", "test")
SYMBOLS: Final = "symbols"
"""The table with ``code_points``, the characters in order; a code is a place among them. The other
tables are `PARTS`, with ``codes``."""
FRACTIONS: Final = (0.9, 0.95)
"""Where the validation and the test part of a single text begin."""
PTB_SYMBOLS: Final = 50


def coded(texts: Sequence[str]) -> Parts:
    """The tables of a training, a validation and a test text; symbols are those of all three.

    Raises:
        ValueError: a text is too short to ask for anything.
    """
    points = [np.frombuffer(text.encode("utf-32-le"), "<u4") for text in texts]
    for part, found in zip(PARTS, points, strict=True):
        if len(found) < 2:
            raise ValueError(f"the {part} text has {len(found)} characters")
    symbols = np.unique(np.concatenate([np.unique(found) for found in points]))
    narrow = np.min_scalar_type(len(symbols))
    tables: Parts = {
        part: {"codes": np.searchsorted(symbols, found).astype(narrow)}
        for part, found in zip(PARTS, points, strict=True)
    }
    return {**tables, SYMBOLS: {"code_points": symbols.astype(np.uint32)}}


def read_three(files: Sequence[Path]) -> Parts:
    """The tables of the three texts of the Penn Treebank, words or characters a token.

    Of characters, ``_`` stands for a space. Both give the same: the words of a line with a space
    between each two, and a line feed at its end, which papers call ``<eos>``.

    Raises:
        ValueError: no text, or another number of symbols than the treebank has.
    """
    texts = [text_of(file) for file in files]
    tokens = texts[0].split()
    # Words of one letter are rare; of characters, only <unk> may be a longer token.
    characters = sum(len(token) == 1 for token in tokens) > 0.9 * len(tokens)
    parts = coded([_lines(text, characters=characters) for text in texts])
    found = len(parts[SYMBOLS]["code_points"])
    if found != PTB_SYMBOLS:
        raise ValueError(f"{found} symbols; the characters of the treebank are {PTB_SYMBOLS}")
    return parts


def read_one(files: Sequence[Path]) -> Parts:
    """The tables of one text, its first 90 %, the next 5 % and the last 5 %.

    Raises:
        ValueError: no text in UTF-8, or too little of it.
    """
    return coded(split_in_three(text_of(files[0])))


def own_text(file: str) -> DataSet:
    """The data set of a user's text; a relative name is one in the data folder, if there is one."""
    stand_in = "task: {name: characters, text: pydoc}"
    return own_file(file, "text", "a user's own text", read_one, stand_in)


def own_file(
    file: str, kind: str, summary: str, read: Callable[[Sequence[Path]], Parts], stand_in: str
) -> DataSet:
    """The data set of a user's text.

    Args:
        file: absolute, or in the data folder, if there is one.
        kind: what its name begins with.
        summary: in words.
        read: makes its tables.
        stand_in: what does the same job.
    """
    path = (data_folder() or Path.cwd()) / Path(file).expanduser()
    return DataSet(
        name=f"{kind}-{re.sub(r'[^a-z0-9_.-]', '-', path.stem.lower())}",
        summary=summary,
        forms=(Form(what="a text in UTF-8", files=(str(path),), read=read),),
        source="whoever wrote it",
        licence="the user's",
        stand_in=stand_in,
    )


def pydoc_name() -> str:
    """Name of the text that this Python brings along: its version and the text's SHA-256.

    It is another text in another Python, so that scores on it compare under the same name only.
    """
    digest = hashlib.sha256(_topics().encode()).hexdigest()
    return f"pydoc-{sys.version_info.major}.{sys.version_info.minor}-{digest[:8]}"


def pydoc_text(name: str) -> DataSet:
    """The help topics of this Python, if they are the text of that name."""

    def read() -> Parts:
        return coded(split_in_three(pydoc_topics(name)))

    return DataSet(
        name=name,
        summary="the help topics of Python: English and code; the offline stand-in for ptb",
        forms=(),
        source="Python itself",
        licence="PSF",
        bundled=read,
        variant=name,
    )


def pydoc_topics(name: str) -> str:
    """The help topics of this Python.

    Raises:
        UnusableDataError: they are not the text of that name.
    """
    found = pydoc_name()
    if name != found:
        raise UnusableDataError(
            f"the text {name!r} is not what this Python has, which is {found!r}: scores on the "
            "two do not compare"
        )
    return _topics()


def _topics() -> str:
    try:
        from pydoc_data.topics import topics  # imported here: half a megabyte
    except ImportError as error:
        raise MissingDataError(
            "this Python has no module pydoc_data, whose text is the offline stand-in; some "
            "systems have it in a package of its own (Debian: libpython3-stdlib)"
        ) from error
    return "".join(topics[name] for name in sorted(topics))


def split_in_three(text: str) -> list[str]:
    """The training, the validation and the test part of one text."""
    first, second = (int(fraction * len(text)) for fraction in FRACTIONS)
    return [text[:first], text[first:second], text[second:]]


def text_of(file: Path) -> str:
    """A text with line feeds at the ends of its lines.

    Raises:
        ValueError: it is not in UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file.name} is no text in UTF-8: {error}") from error


def _lines(text: str, *, characters: bool) -> str:
    """The text with one space between two words, from tokens that are words or characters."""
    lines = [line.split() for line in text.removesuffix("\n").split("\n")]
    if not characters:
        return "".join(f"{' '.join(line)}\n" for line in lines)
    return "".join(f"{''.join(line).replace('_', ' ')}\n" for line in lines)


def _ptb_form(what: str, names: Sequence[str], folders: tuple[str, ...]) -> Form:
    return Form(what=what, files=tuple(names), read=read_three, folders=folders)


_KINDS: Final = ("train", "valid", "test")

PTB: Final = DataSet(
    name="ptb",
    summary="the Penn Treebank of Mikolov et al. 2012: 5,017,482 + 393,042 + 442,423 characters",
    forms=(
        _ptb_form(
            "one sentence a line",
            [f"ptb.{kind}.txt" for kind in _KINDS],
            ("", "ptb", "ptb/data", "simple-examples/data"),
        ),
        _ptb_form(
            "characters with spaces between them, _ for a space",
            [f"ptb.char.{kind}.txt" for kind in _KINDS],
            ("", "ptb", "ptb/data", "simple-examples/data"),
        ),
        _ptb_form(
            "either, as the programs for language models name them",
            [f"{kind}.txt" for kind in _KINDS],
            ("pennchar", "ptb", "penn", "penntreebank"),
        ),
    ),
    source="the simple-examples of Mikolov's RNNLM toolkit; the treebank is the LDC's (LDC99T42)",
    licence="LDC; no copy may be given away",
    stand_in="task: {name: characters, text: pydoc}",
)


def characters_of(parts: Parts) -> str:
    """The symbols of a text in order."""
    points: NDArray[np.uint32] = np.asarray(parts[SYMBOLS]["code_points"], dtype=np.uint32)
    return "".join(map(chr, points.tolist()))
