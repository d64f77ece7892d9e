"""``longhaul reproduce``: trains a recorded configuration again."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from longhaul.cli.options import json_option, storage_option, tracking_option
from longhaul.cli.output import emit, progress_console

if TYPE_CHECKING:
    from longhaul.reproduce import Recording, SeedStudy, Verdict

_RUN_ID = re.compile(r"[0-9a-f]{32}")


@click.command("reproduce")
@click.argument("what", metavar="NAME|NAME/TRIAL|MLFLOW_RUN_ID")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    metavar="N",
    help="Train from N fresh seeds instead; mean, deviation and confidence interval.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=0.01,
    show_default=True,
    help="Largest relative difference of a value that still counts as within tolerance.",
)
@storage_option
@tracking_option
@json_option
def reproduce_command(
    what: str, seeds: int | None, tolerance: float, storage: str, tracking_uri: str, as_json: bool
) -> None:
    """Train a recorded trial again from its seed and compare every logged value.

    NAME is a search, whose best trial is meant. Exits with 1 if the values differ.

    \b
    longhaul reproduce copying-quickstart
    longhaul reproduce copying-quickstart/3 --seeds 5
    """
    from longhaul.reproduce import repeat, study_seeds

    recording = _recording(what, storage, tracking_uri)
    with _progress(f"training {recording.label} again") as advance:
        if seeds is not None:
            study = study_seeds(recording, seeds, advance)
            emit(study.as_dict(), as_json, lambda: _study_text(study))
            return
        verdict = repeat(recording, tolerance, advance)
    emit(verdict.as_dict(), as_json, lambda: _verdict_text(verdict))
    if verdict.verdict == "different":
        raise click.exceptions.Exit(1)


@contextmanager
def _progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, gone when it is done."""
    # imported here: 0.1 s
    from rich.progress import Progress

    with Progress(console=progress_console(), transient=True) as progress:
        bar = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


def _recording(what: str, storage: str, tracking_uri: str) -> "Recording":
    from longhaul.errors import RequestError
    from longhaul.reproduce import recorded_in_ledger, recorded_in_mlflow

    if _RUN_ID.fullmatch(what):
        return recorded_in_mlflow(what, tracking_uri)
    name, slash, trial = what.partition("/")
    if slash and not trial.isdecimal():
        raise RequestError(f"{what}: expected the number of a trial after the slash, as {name}/3")
    return recorded_in_ledger(storage, name, int(trial) if slash else None)


def _verdict_text(verdict: "Verdict") -> str:
    lines = [f"{verdict.label}: {verdict.verdict}"]
    lines.append(f"{verdict.equal} of {verdict.values} logged values are equal bit for bit")
    if verdict.first is not None:
        first = verdict.first
        lines.append(
            f"first difference at step {first.step}, {first.metric}: "
            f"recorded {first.recorded!r}, now {first.repeated!r}"
        )
        lines.append(
            f"largest relative difference {verdict.largest:.3g}, tolerance {verdict.tolerance:g}"
        )
    if verdict.environment:
        lines.append("the environments differ (recorded / now):")
        lines += [f"  {line}" for line in verdict.environment]
    return "\n".join(lines)


def _study_text(study: "SeedStudy") -> str:
    lines = [f"{study.label}: {len(study.seeds)} fresh seeds, {study.diverged} diverged"]
    for metric, summary in study.summary.items():
        if "low" in summary:
            lines.append(
                f"{metric}: {summary['mean']:.4g} ± {summary['deviation']:.2g}, 95 % interval "
                f"of the mean [{summary['low']:.4g}, {summary['high']:.4g}]"
            )
        elif summary:
            lines.append(f"{metric}: {summary['mean']:.4g}")
    return "\n".join(lines)
