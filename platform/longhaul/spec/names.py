"""Names of searches, which are names of folders too."""

import re

from longhaul.errors import RequestError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def is_name(text: object) -> bool:
    """Whether a search may be called so."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None and ".." not in text


def validate_name(name: object, origin: str = "--name") -> str:
    """The name itself if a search may be called so.

    Args:
        name: what was given.
        origin: where it was given, for the message.

    Raises:
        RequestError: it could leave the storage folder, or look like another name.
    """
    if isinstance(name, str) and is_name(name):
        return name
    raise RequestError(
        f"{origin}: found {str(name)[:100]!r}; expected 1 to 63 of a-z, 0-9, '.', '_', '-', "
        "beginning with a letter or digit, without '..'"
    )
