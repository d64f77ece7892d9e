"""What cells reach on real data in a stated small budget, beside chance and the literature.

    LONGHAUL_DATA=FOLDER .venv/bin/python benchmarks/tasks.py [--rows psmnist-exprnn,digits-lstm]

Writes tasks.md and tasks.json to benchmarks/results/; rows that are not named keep the figures they
have. Each row is one training, of the point that its shipped space tries first, the published best
one where there is any; a row takes one to six minutes on one quiet core. The weights are those that
validated best, the scores those on the whole test set.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from machine import machine_table

RESULTS = Path(__file__).parent / "results"
COMMAND = "LONGHAUL_DATA=FOLDER .venv/bin/python benchmarks/tasks.py --rows"
SEED = 1

ONE_EPOCH = "One pass over the training images, where the paper makes {}"
MNIST = ("training.steps=500", "training.batch_size=100", "training.evaluate_every=50",
         "training.validation_size=1000", "cell.hidden_size=128")  # fmt: skip
FRAMES = ("training.steps=860", "training.evaluate_every=86", "training.test_size=300",
          "training.optimizer.learning_rate=0.01")  # fmt: skip
MUSIC = ("training.steps=600", "training.evaluate_every=50")
WORDS = ("training.steps=600", "training.evaluate_every=100", "cell.hidden_size=100")
TEXT = ("training.steps=600", "training.evaluate_every=100", "cell.hidden_size=256")
STAND_IN = (
    "Spoken digits stand in for TIMIT, which is licensed: the two are not comparable. 10 passes at "
    "a rate of 0.01, where the first point's 0.001 is for hundreds; repeating the frame has a loss "
    "of 57.15"
)
PIECES = "600 batches of 8 pieces cut to 200 frames, where the paper makes 69,400 steps of one"


@dataclass(frozen=True)
class Row:
    """One training.

    Attributes:
        space: the shipped space whose first point is trained.
        changes: of that space, as ``--set`` takes them.
        metric: the score that the row is about.
        published: the model whose published score stands beside; empty for none.
        why: why ours differs from it.
    """

    space: str
    changes: tuple[str, ...]
    metric: str
    published: str = ""
    why: str = ""


ROWS = {
    "psmnist-lstm": Row(
        "pixels/lstm",
        MNIST,
        "accuracy",
        "LSTM, n = 257",
        ONE_EPOCH.format("70 to 100, of 257 units"),
    ),
    "psmnist-exprnn": Row(
        "pixels/exprnn",
        ("task.protocol=kerg-2019", *MNIST),
        "accuracy",
        "expRNN, n = 512",
        ONE_EPOCH.format("70 to 100, of 512 units"),
    ),
    "psmnist-nnrnn": Row(
        "pixels/nnrnn",
        MNIST,
        "accuracy",
        "nnRNN, n = 512",
        ONE_EPOCH.format("70 to 100, of 512 units"),
    ),
    "psmnist-margin": Row(
        "pixels/spectral_margin",
        ("task.permutation=numpy-92916", *MNIST),
        "accuracy",
        "margin 0.1, n = 128",
        ONE_EPOCH.format("120, and its permutation is not known"),
    ),
    "digits-exprnn": Row(
        "pixels/digits",
        ("training.steps=1500", "cell={name: exprnn, parameters: 5000}"),
        "accuracy",
    ),
    "digits-lstm": Row(
        "pixels/digits", ("training.steps=1500", "cell={name: lstm, parameters: 5000}"), "accuracy"
    ),
    "speech-exprnn": Row("speech_frames/exprnn", FRAMES, "loss", "", STAND_IN),
    "speech-lstm": Row("speech_frames/lstm", FRAMES, "loss", "", STAND_IN),
    "nottingham-lstm": Row(
        "music/lstm",
        ("task.collection=nottingham", "task.longest_piece=200", *MUSIC),
        "loss",
        "LSTM",
        PIECES,
    ),
    "nottingham-gru": Row(
        "music/gru",
        ("task.collection=nottingham", "task.longest_piece=200", *MUSIC),
        "loss",
        "GRU",
        PIECES,
    ),
    "jsb-lstm": Row(
        "music/lstm",
        MUSIC,
        "loss",
        "LSTM",
        "600 batches of 8 chorales; the paper makes 22,900 of one",
    ),
    "pydoc-lstm": Row("characters/lstm", TEXT, "bits_per_character"),
    "pydoc-nnrnn": Row(
        "characters/nnrnn",
        TEXT,
        "bits_per_character",
        "nnRNN, n = 1024",
        "Another text, 256 units and 600 steps, where the paper has 1,024 and 26,200",
    ),
    "pydoc-words-lstm": Row(
        "words/lstm",
        WORDS,
        "perplexity",
        "LSTM, 2 layers, n = 200",
        "Another text, the 2,000 most frequent words, one layer of 100 units and 600 steps, where "
        "the paper has the treebank's 10,000, two of 200, and 30,199",
    ),
    "pydoc-windows-lstm": Row(
        "characters/lstm", ("task.protocol=windows", *TEXT), "bits_per_character"
    ),
}


@dataclass(frozen=True)
class Figure:
    """What a row reached.

    Attributes:
        task: name, protocol and whatever else sets it apart.
        cell: its name.
        hidden_size, parameters: of the model; parameters with its readout.
        steps, batch_size: of the training; fewer steps than planned if it diverged.
        scores: on the test set, by metric.
        trivial: what a predictor reaches that remembers nothing, by metric.
        published: the literature's score as text, empty where there is none.
        seconds: wall time, data and evaluation included.
    """

    task: str
    cell: str
    hidden_size: int
    parameters: int
    steps: int
    batch_size: int
    scores: dict[str, float]
    trivial: dict[str, float]
    published: str
    seconds: float


def configuration(row: Row, steps: int | None) -> dict[str, Any]:
    """The first point of the row's space under its changes."""
    from longhaul.spec.holes import fill
    from longhaul.spec.search_spec import SearchSpec
    from longhaul.spec.validation import first_answer

    changes = list(row.changes)
    if any(one.startswith("cell=") for one in changes):
        changes += ["search.enqueue=null", "training.optimizer.learning_rate=0.001"]
    if steps is not None:
        changes += [f"training.steps={steps}", f"training.evaluate_every={steps}"]
        changes += ["training.validation_size=100", "training.test_size=100"]
    spec = SearchSpec.load(row.space, changes)
    answers = dict(spec.enqueue[0]) if spec.enqueue else {}
    config: dict[str, Any] = fill(spec.tree, partial(first_answer, answers)) | {"seed": SEED}
    return config


def measure(row: Row, steps: int | None) -> Figure:
    """Trains the row's configuration and tests what validated best."""
    import torch

    from longhaul_trainers.training.model import SequenceModel
    from longhaul_trainers.training.pack import Pack
    from longhaul_trainers.training.settings import TrialConfig

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    started = time.perf_counter()
    config = TrialConfig.parse(configuration(row, steps))
    pack = Pack([config])
    for (point,) in pack.train():
        print(
            f"  step {point.step}: {point.metrics.get('valid/loss')}", file=sys.stderr, flush=True
        )
    (tested,) = pack.test()
    task = pack.task
    return Figure(
        task=_task_words(config.dump()["task"]),
        cell=config.cell.name,
        hidden_size=config.cell.hidden_size,
        parameters=SequenceModel.parameter_count(task, config.cell),
        steps=pack.step,
        batch_size=config.training.batch_size or 0,
        scores={name.removeprefix("test/"): value for name, value in tested.items()},
        trivial={"loss": task.baseline} | dict(task.baseline_metrics),
        published=_published(row, config.dump()["task"]),
        seconds=time.perf_counter() - started,
    )


def _task_words(task: dict[str, Any]) -> str:
    rest = [
        f"{key} {value}"
        for key, value in task.items()
        if key not in ("name", "protocol") and value not in (None, "none")
    ]
    return ", ".join([f"{task['name']} ({task['protocol']})", *rest])


def _published(row: Row, task: dict[str, Any]) -> str:
    from longhaul.spec.suite_fairness import published_score

    found = published_score(task, row.published) if row.published else None
    if found is None:
        return ""
    score, holds = found
    beside = [score.model, "" if holds else score.setting, score.note]
    return f"{score.value:g} ({'; '.join(part for part in beside if part)})"


def page(figures: dict[str, dict[str, Any]]) -> str:
    """The result page."""
    lines = [
        "| row | task | cell | units | parameters | steps × batch | score | without memory | "
        "published | minutes |",
        "|---|---|---|---:|---:|---:|---:|---:|---|---:|",
        *(_line(name, Figure(**one)) for name, one in figures.items() if name in ROWS),
    ]
    whys = [f"- {name}: {ROWS[name].why}." for name in figures if name in ROWS and ROWS[name].why]
    return (
        "\n\n".join(
            [
                "# Real data, small budgets",
                f"`{COMMAND} ROW` repeats a row, without `--rows` all of them. One training each, "
                "of the point that the shipped space tries first; scores are on the whole test "
                "set, by the weights that validated best. The budgets are a part of the published "
                "ones: this shows that the tasks learn and by how much they beat a predictor "
                "without memory, not who is best.",
                "It ran on one thread beside other work, which shows in the minutes alone.",
                machine_table(["torch", "numpy"]),
                "\n".join(lines),
                "Why they differ from what was published:",
                "\n".join(whys),
            ]
        )
        + "\n"
    )


def _line(name: str, one: Figure) -> str:
    metric = ROWS[name].metric
    trivial = one.trivial.get(metric)
    values = [
        name,
        one.task,
        one.cell,
        f"{one.hidden_size}",
        f"{one.parameters:,}",
        f"{one.steps:,} × {one.batch_size}",
        f"{metric.replace('_', ' ')} {one.scores[metric]:.4g}",
        "-" if trivial is None else f"{trivial:.4g}",
        one.published or "-",
        f"{one.seconds / 60:.1f}",
    ]
    return f"| {' | '.join(values)} |"


def all_figures(names: list[str], steps: int | None) -> Iterator[tuple[str, Figure]]:
    """Figures one after the other; a row whose data is missing is told and left out."""
    from longhaul_trainers.errors import DataError, SettingError

    for name in names:
        print(name, file=sys.stderr, flush=True)
        try:
            yield name, measure(ROWS[name], steps)
        except (DataError, SettingError) as error:
            print(f"  left out: {error}", file=sys.stderr, flush=True)


def main() -> None:
    """Measures what is asked for and writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", default=",".join(ROWS), help="names, separated by commas")
    parser.add_argument(
        "--steps", type=int, help="training steps, to try rows on 100 sequences: nothing is written"
    )
    chosen = parser.parse_args()
    names = chosen.rows.split(",")
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        parser.error(f"no row is called {', '.join(unknown)}; known: {', '.join(ROWS)}")
    stored = RESULTS / "tasks.json"
    figures = json.loads(stored.read_text("utf-8")) if stored.exists() else {}
    for name, figure in all_figures(names, chosen.steps):
        print(_line(name, figure), flush=True)
        if chosen.steps is None:
            figures[name] = asdict(figure)
            ordered = {row: figures[row] for row in ROWS if row in figures}
            stored.write_text(json.dumps(ordered, indent=1) + "\n", "utf-8")
            (RESULTS / "tasks.md").write_text(page(ordered), "utf-8")


if __name__ == "__main__":
    main()
