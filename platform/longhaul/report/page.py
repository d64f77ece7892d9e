"""The page of a report, from a search's ledger."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longhaul import __version__, summary
from longhaul.errors import LonghaulError
from longhaul.redaction import redact

if TYPE_CHECKING:
    from longhaul.ledger import Ledger, SearchRecord, TrialRecord
    from longhaul.spec.objectives import Objective

FILE = "report.html"
ROWS = 2000
"""So many trials are listed at most; `longhaul export` gives all."""

# Nothing is fetched, whatever a configuration or an error message contains.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def render(ledger: "Ledger", record: "SearchRecord") -> str:
    """The report as HTML; equal searches give equal texts.

    Args:
        ledger: the search.
        record: its record.
    """
    from longhaul.report.drawing import style

    best = record.best()
    any_trial = best or next(iter(record.trials.values()), None)
    baseline = None
    if any_trial is not None:
        baseline = summary.trivial_baseline(ledger.trial(any_trial.number))
    with style():
        sections = [
            _header(record, any_trial),
            _cards(ledger, record, baseline),
            _reproduce(ledger, best),
            _curves(ledger, record, baseline),
            _cells(ledger, record, baseline),
            _hyperparameters(record, baseline),
            _trials(record, baseline),
            _environment(ledger),
        ]
    assets = files("longhaul.report")
    css = assets.joinpath("page.css").read_text(encoding="utf-8")
    script = assets.joinpath("page.js").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(record.name)} - Longhaul</title>\n<style>\n{css}</style>\n</head>\n"
        f"<body>\n<main>\n{''.join(sections)}</main>\n<script>\n{script}</script>\n</body>\n</html>\n"
    )


def write_report(ledger: "Ledger", html: str, output: Path | None) -> Path:
    """Writes a report to the search's folder, or to ``output``; returns where it is.

    Raises:
        LonghaulError: it cannot be written there.
    """
    if output is None:
        ledger.storage.write(FILE, html.encode())
        return ledger.storage.local_path(FILE) or Path(f"{ledger.storage.uri}/{FILE}")
    try:
        output.write_text(html, encoding="utf-8")
    except OSError as error:
        raise LonghaulError(f"cannot write {output}: {error.strerror or error}") from error
    return output.absolute()


def _header(record: "SearchRecord", trial: "TrialRecord | None") -> str:
    words = []
    if trial is not None:
        task = summary.task_of(trial)
        rest = ", ".join(f"{k} {v}" for k, v in task.items() if k not in ("name", "protocol"))
        protocol = f" as {task['protocol']}" if task.get("protocol") else ""
        words.append(f"Task {task.get('name')}{protocol}{f' ({rest})' if rest else ''}.")
    if record.started:
        words.append(f"Begun {record.started:%Y-%m-%d %H:%M} UTC.")
    if record.started and record.ended:
        seconds = (record.ended - record.started).total_seconds()
        words.append(f"Took {summary.duration(seconds)}.")
    state = f'<span class="state {record.state}">{record.state}</span>'
    return (
        f"<header><h1>{escape(record.name)} {state}</h1>"
        f'<p class="soft">{escape(" ".join(words))}</p></header>\n'
    )


def _cards(ledger: "Ledger", record: "SearchRecord", baseline: float | None) -> str:
    best, objective = record.best(), summary.objective_of(record)
    what = "best validation loss" if objective.name == "loss" else objective.title
    cards = []
    if best is not None:
        result = ledger.trial(best.number).result() or {}
        test = result.get("test/loss")
        measured = f"test loss {summary.number(test)}" if isinstance(test, float) else ""
        cell = summary.cell_of(best)
        cards.append((objective.text(best.value), what, f"trial {best.number}, {cell}"))
        ratio = objective.over_baseline(best.value, baseline)
        if ratio is None:
            cards.append((summary.number(result.get("valid/loss")), "validation loss", measured))
        else:
            cards.append((summary.number(ratio, 3), "times the trivial baseline", measured))
    else:
        cards.append(("-", what, "no trial has run all its steps yet"))
    cards.append(
        (str(len(record.trials)), "trials", summary.count_words(record.counts(), record.state))
    )
    total = record.steps_trained + record.steps_saved
    share = f"{record.steps_saved / total:.0%} of {total:,}" if total else ""
    cards.append((f"{record.steps_saved:,}", "steps saved by early stopping", share))
    made = [
        f"<div class=card><span>{escape(what)}</span><b>{escape(value)}</b>"
        f"<em>{escape(more)}</em></div>"
        for value, what, more in cards
    ]
    return f'<div class="cards">{"".join(made)}</div>\n'


def _reproduce(ledger: "Ledger", best: "TrialRecord | None") -> str:
    if best is None:
        return ""
    import yaml

    config = yaml.safe_dump(best.config, sort_keys=False, allow_unicode=True)
    command = summary.reproduce_command(ledger)
    return _section(
        "Train the best trial again",
        "From its recorded configuration and seed; every logged value is compared.",
        f"<pre>{escape(command)}</pre><details><summary>its configuration</summary>"
        f"<pre>{escape(config)}</pre></details>",
    )


def _curves(ledger: "Ledger", record: "SearchRecord", baseline: float | None) -> str:
    if not record.trials:
        return ""
    from longhaul.report.curves import search_curves

    svg, drawn = search_curves(ledger, record, baseline)
    hidden = len(record.trials) - drawn
    some = f" {hidden:,} more are not drawn." if hidden else ""
    return _section(
        "Learning curves",
        "Strong lines ran all their steps, faint ones were stopped; a cross marks where a trial "
        f"diverged or failed.{some}",
        f'<div class="scroll">{svg}</div>',
    )


def _cells(ledger: "Ledger", record: "SearchRecord", baseline: float | None) -> str:
    from longhaul.report.drawing import colours

    rows = []
    ranked, objective = summary.ranked(record), summary.objective_of(record)
    for cell, colour in colours(record).items():
        best = next((one for one in ranked if summary.cell_of(one) == cell), None)
        all_of_cell = [one for one in record.trials.values() if summary.cell_of(one) == cell]
        result = (ledger.trial(best.number).result() or {}) if best else {}
        value = best.value if best else None
        rows.append(
            [
                _Raw(f'<i class="dot" style="background:{colour}"></i>{escape(cell)}'),
                len(all_of_cell),
                sum(one.rank is not None for one in all_of_cell),
                best.number if best else None,
                _shown(objective, value),
                objective.over_baseline(value, baseline),
                result.get("test/loss"),
                summary.parameters_of(best, result) if best else None,
                best.step if best else None,
            ]
        )
    headings = ["cell", "trials", "completed", "best trial", objective.title, "× baseline",
                "test loss", "parameters", "steps"]  # fmt: skip
    return _section(
        "Best of each cell",
        "Chosen by validation among the trials that ran all their steps; not by the test set.",
        _table(headings, rows),
    )


def _hyperparameters(record: "SearchRecord", baseline: float | None) -> str:
    from longhaul.report.hyperparameters import pictures

    made = pictures(record, baseline)
    if not made:
        return ""
    figures = "".join(f"<div>{svg}</div>" for svg in made.values())
    return _section(
        f"{_what(record)} against each hyperparameter",
        "Filled: ran all steps, and can be compared. Hollow: stopped early, at the best until "
        "then. Dashed: the trivial baseline.",
        f'<div class="grid">{figures}</div>',
    )


def _what(record: "SearchRecord") -> str:
    objective = summary.objective_of(record)
    return "Loss" if objective.name == "loss" else objective.heading.capitalize()


def _shown(objective: "Objective", value: float | None) -> Any:
    """The value in its own unit, or as words where it has none."""
    reached = objective.reached(value)
    return reached if reached is not None or value is None else objective.text(value)


def _trials(record: "SearchRecord", baseline: float | None) -> str:
    best = record.best()
    order = summary.ranked(record)
    order += sorted(
        (one for one in record.trials.values() if one.rank is None),
        key=lambda one: (-one.step, one.number),
    )
    objective = summary.objective_of(record)
    names: dict[str, None] = {}
    for trial in order:
        names.update(dict.fromkeys(name for name in trial.params if name != "cell"))
    rows = [
        [
            one.number,
            _state(one, record),
            summary.cell_of(one),
            _shown(objective, one.value),
            objective.over_baseline(one.value, baseline),
            one.step,
            *(one.params.get(name) for name in names),
            redact(one.reason) if one.reason else "",
        ]
        for one in order[:ROWS]
    ]
    headings = [
        "trial",
        "state",
        "cell",
        objective.heading,
        "× baseline",
        "steps",
        *_short(names),
        "",
    ]
    note = "Click a heading to sort."
    if len(order) > ROWS:
        note += f" The first {ROWS:,} of {len(order):,}; longhaul export {record.name} has all."
    table = _table(headings, rows, sortable=True, best=0 if best is not None else None)
    return _section("Trials", note, table)


def _environment(ledger: "Ledger") -> str:
    facts = summary.flatten(ledger.environment())
    listed = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(redact(_plain(value)))}</dd>" for name, value in facts
    )
    return _section(
        "Environment and specification",
        f"Written by Longhaul {__version__}.",
        f"<dl>{listed}</dl><details><summary>the whole specification</summary>"
        f"<pre>{escape(ledger.spec_text())}</pre></details>",
    )


def _short(names: Iterable[str]) -> list[str]:
    """Headings for dotted names: the last part, with its branch where that is not enough."""
    split = [name.split(".") for name in names]
    last = Counter(parts[-1] for parts in split)
    return [parts[-1] if last[parts[-1]] == 1 else ".".join(parts[-2:]) for parts in split]


def _state(trial: "TrialRecord", record: "SearchRecord") -> "_Raw":
    left = trial.state == "running" and record.state != "running"
    state = "interrupted" if left else str(trial.state)
    return _Raw(f'<span class="state {state}">{state}</span>')


class _Raw(str):
    """HTML already."""

    __slots__ = ()


def _section(title: str, note: str, body: str) -> str:
    return f'<section><h2>{escape(title)}</h2><p class="soft">{escape(note)}</p>{body}</section>\n'


def _table(
    headings: Sequence[str],
    rows: Iterable[Sequence[Any]],
    sortable: bool = False,
    best: int | None = None,
) -> str:
    rows = list(rows)
    numeric = [
        any(_is_number(row[i]) for row in rows) and all(_is_number(row[i], True) for row in rows)
        for i in range(len(headings))
    ]
    kinds = [' class="number"' if one else "" for one in numeric]
    head = "".join(f"<th{kind}>{escape(h)}</th>" for h, kind in zip(headings, kinds, strict=True))
    body = []
    for index, row in enumerate(rows):
        cells = "".join(_cell(value, kind) for value, kind in zip(row, kinds, strict=True))
        body.append(f"<tr{' class=best' if index == best else ''}>{cells}</tr>")
    return (
        f'<div class="scroll"><table{" class=sortable" if sortable else ""}><thead><tr>{head}</tr>'
        f"</thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _cell(value: Any, kind: str) -> str:
    if isinstance(value, _Raw):
        return f"<td{kind}>{value}</td>"
    if value is None:
        return f'<td{kind} data-value="">-</td>'
    if isinstance(value, float):
        return f'<td{kind} data-value="{value!r}">{summary.number(value)}</td>'
    if isinstance(value, int) and not isinstance(value, bool):
        return f'<td{kind} data-value="{value}">{value:,}</td>'
    return f"<td{kind}>{escape(_plain(value))}</td>"


def _is_number(value: Any, or_none: bool = False) -> bool:
    if value is None:
        return or_none
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
