"""JSON that other programs can read and that gives every number back as it was.

JSON knows no NaN and no infinity; they are written as ``{"$float": "nan"}``, because a diverged
loss must come back as what it was.
"""

import json
import math
from typing import Any


def dumps(value: object, indent: int | None = None) -> str:
    """A value as JSON text; scalars of numpy and torch become numbers.

    Raises:
        TypeError: it holds something that JSON cannot.
    """
    try:
        return _dumps(value, indent)
    except ValueError:
        return _dumps(_spell_non_finite(value), indent)


def loads(text: str | bytes) -> Any:
    """The value of a JSON text; `ValueError` if it is none."""
    if isinstance(text, bytes):
        text = text.decode()
    try:
        return json.loads(text, object_hook=_read_non_finite if '"$float"' in text else None)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _dumps(value: object, indent: int | None) -> str:
    separators = (",", ":") if indent is None else None
    return json.dumps(value, indent=indent, separators=separators, allow_nan=False, default=_scalar)


def _scalar(value: object) -> object:
    item = getattr(value, "item", None)
    if item is None:
        raise TypeError(f"the ledger cannot hold {value!r} ({type(value).__name__})")
    return item()


def _spell_non_finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _spell_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spell_non_finite(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(float(value))}
    if value is None or isinstance(value, str | int):
        return value
    return _spell_non_finite(_scalar(value))


def _read_non_finite(value: dict[str, Any]) -> object:
    if value.keys() == {"$float"} and value["$float"] in ("nan", "inf", "-inf"):
        return float(value["$float"])
    return value
