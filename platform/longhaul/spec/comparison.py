"""In what two specifications differ, for people."""

import difflib

from longhaul.spec.search_spec import SearchSpec


def difference(recorded: SearchSpec, wanted: SearchSpec) -> str:
    """The first line in which two specifications differ."""
    old, new = recorded.to_yaml().splitlines(), wanted.to_yaml().splitlines()
    lines = [line for line in difflib.ndiff(old, new) if line[0] in "-+"]
    was = next((line[1:].strip() for line in lines if line[0] == "-"), "nothing")
    now = next((line[1:].strip() for line in lines if line[0] == "+"), "nothing")
    return f"it has `{was}` where this one has `{now}`"
