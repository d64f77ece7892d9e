"""What the pictures of a report have in common."""

import io
from typing import TYPE_CHECKING, Any

from longhaul.summary import cell_of

if TYPE_CHECKING:
    from longhaul.ledger import SearchRecord

# Okabe and Ito (2008), told apart with any colour vision; then repeated.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7b5ea7", "#8c6d46")
BASELINE_COLOUR = "#6b7480"
INK = "#1c2430"

# Text stays text: the file is smaller, and the page's own font is used.
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": "#b7bfca",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": "#5b6675",
    "ytick.color": "#5b6675",
}


def colours(record: "SearchRecord") -> dict[str, str]:
    """A colour for each cell, in the alphabetical order of their names."""
    cells = sorted({cell_of(trial) for trial in record.trials.values()})
    return {cell: PALETTE[index % len(PALETTE)] for index, cell in enumerate(cells)}


def style() -> Any:
    """A context in which figures are made."""
    from matplotlib import rc_context  # imported here: 0.5 s

    return rc_context(_STYLE)


def plain_log_ticks(axis: Any, subs: tuple[float, ...] = (1.0, 2.0, 3.0, 5.0)) -> None:
    """Labels such as 0.03 on a logarithmic axis, instead of powers, and few of them.

    Args:
        axis: of matplotlib, with its limits.
        subs: the leading digits that get a label where the axis spans little.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = sorted(axis.get_view_interval())
    wide = low <= 0 or high / low > 50
    axis.set_major_locator(LogLocator(10, subs=(1.0,) if wide else subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axis.set_minor_formatter(NullFormatter())


def to_svg(figure: Any, salt: str) -> str:
    """A figure as an SVG element to be put into a page; equal figures give equal texts.

    Args:
        figure: of matplotlib.
        salt: differs among the pictures of a page, so that their inner names do.
    """
    from matplotlib import rc_context

    target = io.StringIO()
    with rc_context(_STYLE | {"svg.hashsalt": salt}):
        figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    text = target.getvalue()
    return text[text.index("<svg") :].replace("<svg ", '<svg role="img" ', 1)
