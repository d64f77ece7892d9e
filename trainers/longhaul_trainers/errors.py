"""What can be wrong with a configuration, said so that a user can mend it."""

from difflib import get_close_matches


class SettingError(ValueError):
    """A configuration value that cannot be used.

    Args:
        path: dotted path of the key, for example ``cell.hidden_size``; empty for the whole.
        problem: what was found and what was expected.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


class UnknownNameError(SettingError, LookupError):
    """A name that no catalogue lists, or a key that no settings class has."""

    def __init__(self, path: str, noun: str, name: object, known: list[str]) -> None:
        super().__init__(path, f"unknown {noun} {name!r}; {nearest(name, known)}")
        self.known = known


class BrokenPackageError(SettingError):
    """A name that an installed package contributes but cannot deliver.

    Args:
        path: dotted path of the key that holds the name; empty outside a configuration.
        noun: what the name stands for, for example ``cell``.
        name: the name.
        package: the package and its version.
        cause: what went wrong.
    """

    def __init__(self, path: str, noun: str, name: str, package: str, cause: BaseException) -> None:
        problem = f"{noun} {name!r} of the package {package} cannot be loaded"
        super().__init__(path, f"{problem}: {type(cause).__name__}: {cause}")


def nearest(name: object, known: list[str]) -> str:
    """The part of a message that helps after a misspelt name."""
    close = get_close_matches(str(name), known, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"{meant}Known: {', '.join(known) or 'none'}"


def article(noun: str) -> str:
    """A noun of ours with its article: ``an objective``."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


class DataError(Exception):
    """Data that a task reads from files is not to be had: one message that says what to do."""


class MissingDataError(DataError, FileNotFoundError):
    """A file that nobody has put there yet."""


class UnusableDataError(DataError, ValueError):
    """A file that is not what its name says: torn, of another shape, or of a form never loaded."""


class DataStorageError(DataError, OSError):
    """There is no place, or no room, for the converted files."""


class DataWarning(UserWarning):
    """Data that can be used, but is not what the literature used."""
