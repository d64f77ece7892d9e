"""Draws the panels of infra/monitoring/grafana/dashboard.json from what their queries gave.

Used by metrics_soak.py: what Grafana would show, without Grafana.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_server import MONITORING, Series

BOARD = MONITORING / "grafana/dashboard.json"
COLUMNS = 3
_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_STEPS = {
    "bytes": (1024, ("B", "KiB", "MiB", "GiB", "TiB")),
    "Bps": (1000, ("B/s", "kB/s", "MB/s", "GB/s")),
    "s": (0, ("s",)),
    "short": (1000, ("", "K", "Mil", "Bil")),
}


@dataclass(frozen=True)
class Panel:
    """One panel, and what its queries gave.

    Attributes:
        title, unit: as in the dashboard.
        lowest, highest: of its axis; None: as the values are.
        queries: query and name of its lines, with labels in double braces.
        series: of each query.
    """

    title: str
    unit: str
    lowest: float | None
    highest: float | None
    queries: list[tuple[str, str]]
    series: list[list[Series]]

    def lines(self) -> list[tuple[str, Series]]:
        """All lines with their names in the legend."""
        return [
            (legend(name, one), one)
            for (_, name), found in zip(self.queries, self.series, strict=True)
            for one in found
        ]


def legend(name: str, series: Series) -> str:
    """The name of a line as Grafana makes it."""
    return _LABEL.sub(lambda match: series.labels.get(match[1], ""), name)


def panels(over_time: Callable[[str], list[Series]], board: Path = BOARD) -> list[Panel]:
    """All panels of the dashboard in its order.

    Args:
        over_time: answers a query.
        board: the dashboard.
    """
    found = []
    for told in json.loads(board.read_text(encoding="utf-8"))["panels"]:
        defaults = told["fieldConfig"]["defaults"]
        queries = [(one["expr"], one["legendFormat"]) for one in told["targets"]]
        found.append(
            Panel(
                told["title"],
                defaults["unit"],
                defaults.get("min"),
                defaults.get("max"),
                queries,
                [over_time(query) for query, _ in queries],
            )
        )
    return found


def shown(value: float, unit: str) -> str:
    """A value with its unit as Grafana writes it."""
    if unit in ("percent", "percentunit"):
        return f"{value * (100 if unit == 'percentunit' else 1):.3g}%"
    base, names = _STEPS[unit]
    at = 0
    while base and abs(value) >= base and at + 1 < len(names):
        value, at = value / base, at + 1
    return f"{value:.3g} {names[at]}".strip()


def draw(drawn: Sequence[Panel], began: float, path: Path) -> None:
    """One picture of all panels, as they lie in the dashboard.

    Args:
        drawn: the panels.
        began: the Unix time that the axis of time begins with.
        path: of the picture.
    """
    from matplotlib.figure import Figure

    rows = -(-len(drawn) // COLUMNS)
    figure = Figure(figsize=(5 * COLUMNS, 2.9 * rows), layout="constrained")
    for axes, panel in zip(figure.subplots(rows, COLUMNS).flat, drawn, strict=False):
        _draw(axes, panel, began)
    for axes in figure.axes[len(drawn) :]:
        axes.set_axis_off()
    figure.savefig(path, dpi=75)


def _draw(axes: Any, panel: Panel, began: float) -> None:
    axes.set_title(panel.title, fontsize=10, loc="left")
    for name, one in panel.lines():
        minutes = [(when - began) / 60 for when in one.times]
        axes.plot(minutes, one.values, ".-", ms=2, lw=1, label=name)
    if not panel.lines():
        axes.text(0.5, 0.5, "No data", transform=axes.transAxes, ha="center", color="gray")
    axes.set_ylim(panel.lowest, panel.highest)
    axes.yaxis.set_major_formatter(lambda value, _: shown(value, panel.unit))
    axes.tick_params(labelsize=7)
    axes.set_xlabel("minutes", fontsize=7)
    axes.grid(visible=True, alpha=0.3)
    if panel.lines():
        axes.legend(fontsize=6, ncols=2, frameon=False, loc="best")
