"""Texts as codes of words: the Penn Treebank, Python's own documentation, any text file."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from longhaul_trainers.data.columns import Parts, Ragged, ragged
from longhaul_trainers.data.data_set import DataSet, Form
from longhaul_trainers.data.texts import PARTS, PTB, own_file, pydoc_topics, split_in_three, text_of

UNKNOWN: Final = "<unk>"
END: Final = "<eos>"
PTB_WORDS_COUNT: Final = 10_000
VOCABULARY: Final = "vocabulary"
"""The table with ``code_points``, the words in the order of their codes. The other tables are
`PARTS`, with ``codes``."""
_WORD: Final = re.compile(r"<unk>|\w+|[^\w\s]")


def words_of(text: str) -> list[str]:
    """Words and marks one by one, and `END` after each line.

    A word is a run of letters, digits and underscores; every other visible character stands alone.
    """
    lines = text.removesuffix("\n").split("\n")
    return [word for line in lines for word in (*_WORD.findall(line), END)]


def coded_words(texts: Sequence[Sequence[str]]) -> Parts:
    """The tables of the words of a training, a validation and a test text.

    Code 0 is `UNKNOWN`; the others are the words of the training text, the more frequent first, the
    equally frequent in alphabetical order. What that text does not have is unknown.

    Raises:
        ValueError: a text is too short to ask for anything.
    """
    for part, found in zip(PARTS, texts, strict=True):
        if len(found) < 2:
            raise ValueError(f"the {part} text has {len(found)} words")
    counts = Counter(texts[0])
    counts.pop(UNKNOWN, None)
    vocabulary = [UNKNOWN, *sorted(counts, key=lambda word: (-counts[word], word))]
    codes = {word: code for code, word in enumerate(vocabulary)}
    narrow = np.min_scalar_type(len(vocabulary))
    tables: Parts = {
        part: {"codes": np.array([codes.get(word, 0) for word in found], dtype=narrow)}
        for part, found in zip(PARTS, texts, strict=True)
    }
    points = [np.frombuffer(word.encode("utf-32-le"), "<u4") for word in vocabulary]
    return {**tables, VOCABULARY: {"code_points": ragged(points)}}


def vocabulary_of(parts: Parts) -> list[str]:
    """The words of a text in the order of their codes."""
    found = parts[VOCABULARY]["code_points"]
    if not isinstance(found, Ragged):
        raise TypeError("words are of different lengths")
    return ["".join(map(chr, found[i].tolist())) for i in range(len(found))]


def read_three(files: Sequence[Path]) -> Parts:
    """The tables of the three texts of the Penn Treebank, one sentence a line.

    Raises:
        ValueError: no text, or another number of words than the treebank has.
    """
    texts = [text_of(file).removesuffix("\n").split("\n") for file in files]
    parts = coded_words([[w for line in lines for w in (*line.split(), END)] for lines in texts])
    found = len(vocabulary_of(parts))
    if found != PTB_WORDS_COUNT:
        raise ValueError(f"{found:,} words; the treebank has {PTB_WORDS_COUNT:,}, <eos> included")
    return parts


def read_one(files: Sequence[Path]) -> Parts:
    """The tables of one text, its first 90 %, the next 5 % and the last 5 % of the characters.

    Raises:
        ValueError: no text in UTF-8, or too little of it.
    """
    return coded_words([words_of(part) for part in split_in_three(text_of(files[0]))])


def own_words(file: str) -> DataSet:
    """The data set of a user's text; a relative name is one in the data folder, if there is one."""
    stand_in = "task: {name: words, text: pydoc}"
    return own_file(file, "words", "a user's own text", read_one, stand_in)


def pydoc_words(name: str) -> DataSet:
    """The words of this Python's help topics, if they are the text of that name."""

    def read() -> Parts:
        return coded_words([words_of(part) for part in split_in_three(pydoc_topics(name))])

    return DataSet(
        name=f"words-{name}",
        summary="the words of Python's help topics: English and code; the offline stand-in for ptb",
        forms=(),
        source="Python itself",
        licence="PSF",
        bundled=read,
        variant=name,
    )


PTB_WORDS: Final = DataSet(
    name="ptb_words",
    summary="the words of the Penn Treebank of Mikolov et al. 2012: 929,589 + 73,760 + 82,430",
    forms=tuple(
        Form(what="one sentence a line", files=form.files, read=read_three, folders=form.folders)
        for form in PTB.forms
        if "characters" not in form.what
    ),
    source=PTB.source,
    licence=PTB.licence,
    stand_in="task: {name: words, text: pydoc}",
)
