"""The page about all cells, and what listings need of each."""

from pathlib import Path

import pytest

from longhaul_trainers.catalogue import CELLS, MATRICES, NONLINEARITIES
from longhaul_trainers.cells.base import KINDS, Cell
from longhaul_trainers.cells.description import describe_cell
from longhaul_trainers.cells.page import cells_page

PAGE = Path(__file__).parents[2] / "docs" / "cells.md"
OURS = [name for name in CELLS.names() if not CELLS.package(name)]


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == cells_page(), "make docs writes it anew"


def test_the_page_names_everything_once():
    lines = cells_page().splitlines()
    for name in OURS:
        assert lines.count(f"## {name}") == 1
        assert sum(line.startswith(f"| [{name}](#{name}) |") for line in lines) == 1
    for catalogue in (MATRICES, NONLINEARITIES):
        assert all(lines.count(f"## {catalogue.noun} {name}") == 1 for name in catalogue.names())
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("name", OURS)
def test_every_cell_of_ours_can_be_listed(name):
    found = describe_cell(name)
    assert found.kind in KINDS
    assert found.kind != "other"
    assert len(found.summary) <= 100
    assert found.citation
    assert found.citation.split()[-1].isdigit()
    assert "``" not in found.notes


def test_a_cell_that_says_little_can_be_described(monkeypatch):
    class Bare(Cell):
        settings_type = CELLS.settings_type("rnn")
        equations = "h' = x"

    monkeypatch.setattr(CELLS, "get", lambda name: Bare)
    found = describe_cell("bare")
    assert (found.kind, found.notes, found.citation) == ("other", "", "")
    text = found.markdown()
    assert text.startswith("## bare\n")
    for absent in ("Differs", "Parameters:", "Reference", "bibtex", "| search |"):
        assert absent not in text
