"""A comparison as Markdown, and as one HTML file that needs nothing else."""

from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from longhaul import __version__
from longhaul.comparison.table import Comparison, TaskTable
from longhaul.comparison.words import (
    baseline,
    cells,
    columns,
    heading,
    is_number,
    notes,
    rules,
)
from longhaul.errors import LonghaulError, RequestError

if TYPE_CHECKING:
    from longhaul.ledger.storage import Storage

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def write_comparison(root: "Storage", comparison: Comparison, output: Path | None) -> list[Path]:
    """Writes both forms to the suite's folder, or the one that ``output`` asks for.

    Args:
        root: the storage.
        comparison: what to write.
        output: a file that ends in ``.md`` or ``.html``.

    Raises:
        RequestError: a file of another kind.
        LonghaulError: it cannot be written there.
    """
    forms = {".md": markdown, ".html": page}
    if output is None:
        folder = root.folder(comparison.name)
        written = []
        for suffix, form in forms.items():
            name = f"comparison{suffix}"
            folder.write(name, form(comparison).encode())
            written.append(folder.local_path(name) or Path(f"{folder.uri}/{name}"))
        return written
    if output.suffix not in forms:
        raise RequestError(f"{output}: expected a name that ends in {' or '.join(forms)}")
    try:
        output.write_text(forms[output.suffix](comparison), encoding="utf-8")
    except OSError as error:
        raise LonghaulError(f"cannot write {output}: {error.strerror or error}") from error
    return [output.absolute()]


def markdown(comparison: Comparison) -> str:
    """The comparison for a README or a paper's appendix."""
    parts = [f"# {comparison.name}"]
    if comparison.description:
        parts.append(f"{_text(comparison.description)}.")
    if comparison.source:
        parts.append(f"After {_text(comparison.source)}.")
    parts.append("\n".join(f"- {_text(line)}" for line in rules(comparison)))
    for table in comparison.tables:
        parts.append(f"## {_text(heading(table))}")
        if table.task:
            parts.append(f"Without memory: {_text(baseline(table))}.")
        parts.append(_markdown_table(table))
        said = notes(table)
        if said:
            parts.append("\n".join(f"- {_text(line)}" for line in said))
        commands = [row.reproduce for row in table.rows if row.reproduce]
        if commands:
            parts.append("The best trials again:\n\n```\n" + "\n".join(commands) + "\n```")
    return "\n\n".join(parts) + "\n"


def page(comparison: Comparison) -> str:
    """The comparison as a web page; nothing is fetched, no script runs."""
    css = files("longhaul.report").joinpath("page.css").read_text(encoding="utf-8")
    lines = [f"{comparison.description}." if comparison.description else ""]
    if comparison.source:
        lines.append(f"After {comparison.source}.")
    tables = "".join(_section(table) for table in comparison.tables)
    said = "".join(f"<li>{escape(line)}</li>" for line in rules(comparison))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(comparison.name)} - Longhaul</title>\n<style>\n{css}</style>\n</head>\n"
        f"<body>\n<main>\n<header><h1>{escape(comparison.name)}</h1>"
        f'<p class="soft">{escape(" ".join(filter(None, lines)))}</p></header>\n'
        f"<section><h2>How it was compared</h2><ul>{said}</ul></section>\n{tables}"
        f'<p class="soft">Written by Longhaul {__version__}.</p>\n</main>\n</body>\n</html>\n'
    )


def _section(table: TaskTable) -> str:
    headings = columns(table)
    kinds = [' class="number"' if is_number(one) else "" for one in headings]
    head = "".join(f"<th{kind}>{escape(h)}</th>" for h, kind in zip(headings, kinds, strict=True))
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{kind}>{escape(text)}</td>"
            for text, kind in zip(cells(table, row), kinds, strict=True)
        )
        + "</tr>"
        for row in table.rows
    )
    said = "".join(f"<li>{escape(line)}</li>" for line in notes(table))
    commands = "\n".join(row.reproduce for row in table.rows if row.reproduce)
    trivial = f"Without memory: {baseline(table)}." if table.task else ""
    return (
        f'<section><h2>{escape(heading(table))}</h2><p class="soft">{escape(trivial)}</p>'
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        f"</div>{f'<ul>{said}</ul>' if said else ''}"
        f"<details><summary>the best trials again</summary><pre>{escape(commands)}</pre></details>"
        "</section>\n"
    )


def _markdown_table(table: TaskTable) -> str:
    headings = columns(table)
    rule = "|".join("---:" if is_number(one) else "---" for one in headings)
    lines = [f"| {' | '.join(headings)} |", f"|{rule}|"]
    for row in table.rows:
        lines.append(f"| {' | '.join(_text(one) for one in cells(table, row))} |")
    return "\n".join(lines)


def _text(text: str) -> str:
    """Plain text within Markdown: what would be markup is not."""
    return "".join(f"\\{one}" if one in "\\|*_`<>[]" else one for one in text)
