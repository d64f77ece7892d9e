"""The page about all cells: ``python -m longhaul_trainers.cells.page docs/cells.md`` writes it."""

import sys
from collections.abc import Iterator
from pathlib import Path

from longhaul_trainers.catalogue import CELLS, MATRICES, NONLINEARITIES, Catalogue
from longhaul_trainers.cells.base import KINDS
from longhaul_trainers.cells.description import (
    CellDescription,
    describe_cell,
    documentation,
    settings_table,
)
from longhaul_trainers.settings import describe

HEAD = """# Cells

Written by `make docs` from the classes; `longhaul cells NAME` shows the same. h is the state, x the
input, * a product of entries, a prime what comes after the step; n is the number of hidden units
(`hidden_size`), m that of inputs. A cell's settings are keys under `cell`. Where to search is given
as a space writes it, by the authors' ranges where they are known. A cell of your own:
[own-cell.md](own-cell.md)."""

COMPONENTS = """# Recurrent matrices

What W may be in the cells `elman` and `goru`, under the key `matrix`. `learning_rate_ratio` and
`recurrent_optimizer` act on its parameters."""


def cells_page() -> str:
    """All cells, matrices and nonlinearities that come with Longhaul, in markdown."""
    cells = [describe_cell(name) for name in _ours(CELLS)]
    parts = [HEAD, *_index(cells)]
    parts += [cell.markdown() for kind in KINDS for cell in cells if cell.kind == kind]
    parts += [COMPONENTS, *_components(MATRICES)]
    parts += ["# Nonlinearities", *_components(NONLINEARITIES)]
    return "\n\n".join(parts) + "\n"


def _ours(catalogue: Catalogue) -> list[str]:
    return [name for name in catalogue.names() if not catalogue.package(name)]


def _index(cells: list[CellDescription]) -> Iterator[str]:
    for kind, meaning in KINDS.items():
        rows = [
            f"| [{cell.name}](#{cell.name}) | {cell.summary.rstrip('.')} | {cell.citation} |"
            for cell in cells
            if cell.kind == kind
        ]
        if rows:
            yield f"**{kind}**: {meaning}"
            yield "\n".join(["| cell | what it is | published |", "|---|---|---|", *rows])


def _components(catalogue: Catalogue) -> Iterator[str]:
    """Sections of classes with settings, a formula and perhaps a reference."""
    for name in _ours(catalogue):
        entry = catalogue.get(name)
        settings = describe(catalogue.settings_type(name))
        reference = getattr(entry, "reference", "")
        yield f"## {catalogue.noun} {name}"
        yield documentation(entry)[0]
        yield f"```text\n{entry.formula}\n```"
        if settings:
            yield settings_table(settings)
        if reference:
            yield f"Reference: {reference}."


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(cells_page(), encoding="utf-8")
