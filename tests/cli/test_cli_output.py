import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import PurePosixPath

import click
import numpy as np
import pytest
from click.testing import CliRunner

from longhaul.cli.output import emit, progress_console, say, to_json


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Point:
    x: float


def test_every_kind_of_value_survives_as_json():
    data = {
        "time": datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC),
        "path": PurePosixPath("runs/one"),
        "numbers": (1, 2.5, True, None, np.float64(0.5), np.int64(3)),
        "missing": [float("nan"), float("inf"), np.float32("nan")],
        "colour": Colour.RED,
        "point": Point(1.0),
        7: {"b", "a"},
    }
    assert json.loads(to_json(data)) == {
        "time": "2020-01-02T03:04:05+00:00",
        "path": "runs/one",
        "numbers": [1, 2.5, True, None, 0.5, 3],
        "missing": [None, None, None],
        "colour": "red",
        "point": {"x": 1.0},
        "7": ["a", "b"],
    }


def test_a_value_without_json_is_refused():
    with pytest.raises(TypeError, match="object"):
        to_json({"x": object()})


@click.command()
@click.option("--json", "as_json", is_flag=True)
@click.option("--table", is_flag=True)
def probe(as_json: bool, table: bool) -> None:
    def render():
        if not table:
            return "a text"
        from rich.table import Table

        made = Table("column")
        made.add_row("x" * 150)
        return made

    say("on the way")
    progress_console().print("half way")
    emit({"value": float("nan")}, as_json, render)


def test_only_the_result_goes_to_standard_output():
    result = CliRunner().invoke(probe, ["--json"])
    assert json.loads(result.stdout) == {"value": None}
    assert result.stderr == "on the way\nhalf way\n"
    assert CliRunner().invoke(probe, []).stdout == "a text\n"


def test_a_table_is_not_folded_in_a_pipe():
    assert "x" * 150 in CliRunner().invoke(probe, ["--table"]).stdout


def test_no_line_is_filled_up_with_blanks(capsys):
    from rich.padding import Padding

    emit({}, False, lambda: Padding("a text", (0, 0, 0, 4)))
    assert capsys.readouterr().out == "    a text\n"
