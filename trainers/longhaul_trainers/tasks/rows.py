"""Examples of sequences as aligned rows of text."""

from collections.abc import Iterable, Mapping, Sequence


def aligned(rows: Mapping[str, Sequence[str]], shown: Iterable[int] | None = None) -> list[str]:
    """One line a row, with a column for each step; stretches left out become one "…".

    Args:
        rows: what to write at each step by the name of the row; all equally long.
        shown: the steps to write, None for all.
    """
    steps = range(len(next(iter(rows.values()))))
    kept = sorted(set(steps) & set(steps if shown is None else shown))
    width = max(len(row[t]) for row in rows.values() for t in kept)
    names = max(7, *map(len, rows))
    return [f"{name:<{names}} {_row(row, kept, width)}" for name, row in rows.items()]


def ends(length: int, first: int, last: int) -> set[int]:
    """The first and the last steps of a sequence of this length; all, if that leaves out none."""
    return {t for t in range(length) if t < first or t >= length - last}


def _row(row: Sequence[str], kept: list[int], width: int) -> str:
    cells = []
    previous = -1
    for t in kept:
        if t > previous + 1:
            cells.append("…")
        cells.append(f"{row[t]:>{width}}")
        previous = t
    if kept[-1] < len(row) - 1:
        cells.append("…")
    return " ".join(cells)
