"""Tables and headings for people, from plain texts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from longhaul.spec.settings_table import SettingSummary


def table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], numbers: Sequence[str] = ()
) -> "Table":
    """A table without lines.

    Args:
        columns: the headings.
        rows: the cells, shown as they are: brackets in them are no markup.
        numbers: headings of the columns to align on the right.
    """
    from rich.table import Table  # imported here: 0.1 s
    from rich.text import Text

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left")
    for row in rows:
        made.add_row(*(Text(str(cell)) for cell in row))
    return made


def settings_table(settings: Sequence["SettingSummary"]) -> "Table":
    """The settings of a cell or task, one a row."""
    rows = [
        [
            one.key,
            one.type + (" or null" if one.optional else ""),
            one.range,
            one.default_text(),
            one.help + ("" if one.searchable else " (fixed in a search)"),
        ]
        for one in settings
    ]
    return table(["setting", "type", "range", "default", "meaning"], rows)


def heading(text: str) -> "Text":
    """A line above a table."""
    from rich.text import Text

    return Text(text, style="bold")


def indented(text: str) -> "RenderableType":
    """A paragraph whose lines all begin four columns further to the right."""
    from rich.padding import Padding
    from rich.text import Text

    return Padding(Text(text), (0, 0, 0, 4))


def stacked(*parts: "RenderableType") -> "RenderableType":
    """Parts one below the other; texts are shown as they are."""
    from rich.console import Group
    from rich.text import Text

    return Group(*(Text(part) if isinstance(part, str) else part for part in parts))
