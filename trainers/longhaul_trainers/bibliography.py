"""Reading the BibTeX entries that cells carry."""

import re
import unicodedata

# LaTeX's accents and the combining characters that follow a letter in Unicode.
_ACCENTS = {
    "'": "\u0301",
    "`": "\u0300",
    '"': "\u0308",
    "^": "\u0302",
    "~": "\u0303",
    "v": "\u030c",
    "c": "\u0327",
}
_LETTERS = {r"{\o}": "ø", r"{\O}": "Ø", r"{\ss}": "ß", r"{\l}": "ł", r"{\i}": "i"}


def citation(entry: str) -> str:
    """``Helfrich et al. 2018`` for a BibTeX entry; empty where it has no author or year."""
    author, year = field(entry, "author"), field(entry, "year")
    if not author or not year:
        return ""
    names = [_family_name(one) for one in re.split(r"\s+and\s+", author)]
    if len(names) > 2:
        return f"{names[0]} et al. {year}"
    return f"{' and '.join(names)} {year}"


def field(entry: str, name: str) -> str:
    """The value of one field of a BibTeX entry, accents resolved; empty where it is not there."""
    found = re.search(rf"^\s*{name} = \{{(.*)\}},?$", entry, re.MULTILINE)
    return _plain(found[1]) if found else ""


def _family_name(author: str) -> str:
    family, comma, _ = author.partition(",")
    return family.strip() if comma else author.split()[-1]


def _plain(text: str) -> str:
    for written, letter in _LETTERS.items():
        text = text.replace(written, letter)
    text = re.sub(r"\{\\(['`\"^~vc])\s?\{?\\?(\w)\}?\}", _accented, text)
    return text.replace("{", "").replace("}", "")


def _accented(found: re.Match[str]) -> str:
    return unicodedata.normalize("NFC", found[2] + _ACCENTS[found[1]])
