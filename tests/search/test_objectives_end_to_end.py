"""A whole search for each kind of objective, by the command line, and what is said of it."""

from html import escape

import pytest
from click.testing import CliRunner

from longhaul.cli.main import main
from longhaul.spec.search_spec import SearchSpec

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

RUNGS = [10, 30]
CELL = {"name": "lstm", "hidden_size": 12}
RATES = {"name": "adam", "learning_rate": {"loguniform": [1e-5, 1e-1]}}
KINDS = {
    "accuracy": "accuracy",
    "normalised-loss": "normalised_loss",
    # within reach of the better rates alone
    "steps-to-solve": {"name": "steps_to_solve", "solved": "over_baseline < 1.3"},
    "seconds-to-solve": {"name": "seconds_to_solve", "solved": "over_baseline < 1.3"},
}


@pytest.fixture(scope="module")
def project(new_project):
    return new_project()


def invoke(*words):
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


# Some 40 s each: the one that is also taken up again stands for all in every run.
EACH = [pytest.param(name, marks=[] if "steps" in name else pytest.mark.slow) for name in KINDS]


@pytest.mark.parametrize("name", EACH)
def test_a_search_minimises_what_its_space_says(project, name):
    scheduler = {"name": "asha", "grace_steps": RUNGS[0]}
    search = {"trials": 4, "scheduler": scheduler, "objective": KINDS[name]}
    training = {"optimizer": RATES, "steps": RUNGS[-1], "batch_size": 16, "evaluate_every": 5}
    space = project.space(name, cell=CELL, training=training, search=search)
    driver = project.run("search", space, "--json")
    assert driver.popen.returncode == 0, driver.stderr
    ledger = project.ledger(name)
    record = ledger.record()
    spec = SearchSpec.from_text(ledger.spec_text(), "spec.yaml", name=name)
    objective = spec.search.objective
    for number, trial in record.trials.items():
        rows = ledger.trial(number).history().to_pylist()
        for step, value in trial.reports:
            curve = {row["step"]: row for row in rows if row["step"] <= step}
            known = {
                at: {k: v for k, v in row.items() if v is not None} for at, row in curve.items()
            }
            assert value == objective.value(known, 16)
    first = {number: one.reports[0][1] for number, one in record.trials.items()}
    assert record.trials[min(first, key=lambda number: first[number])].step == RUNGS[-1]
    best = record.best()
    finished = [one.value for one in record.trials.values() if one.state == "completed"]
    assert best.value == min(finished)
    told = driver.json()
    assert (told["best"], told["value"]) == (best.number, best.value)
    assert told["objective"] == objective.title
    storage = ("--storage", project.storage)
    for command in ("best", "status", "list", "show"):
        words = () if command == "list" else (name,)
        assert objective.text(best.value) in invoke(command, *words, *storage)
    assert objective.title in invoke("best", name, *storage)
    assert objective.title in invoke("check", project.folder / space)
    report = project.folder / f"{name}.html"
    invoke("report", name, "--output", report, *storage)
    assert escape(objective.title) in report.read_text(encoding="utf-8")
    if name != "steps-to-solve":
        return
    # taken up again, it knows what it minimised
    again = project.run("resume", name, "--trials", "5", "--json")
    assert again.popen.returncode == 0, again.stderr
    assert len(ledger.record().trials) == 5
    assert ledger.record().objective == record.objective
