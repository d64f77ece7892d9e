"""A whole suite by the command line: two searches with real Ray, their fresh seeds, their table."""

import json
import math
import statistics

import pytest
from click.testing import CliRunner

from longhaul.cli.main import main

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

SUITE = """\
description: two cells on copying
budget: {trials: 2, steps: 20, scheduler: full}
seeds: 2
searches:
- {space: one.yaml, label: One}
- {space: two.yaml, label: Two}
"""
NAMES = ["pair-1-one", "pair-2-two"]


@pytest.fixture(scope="module")
def project(new_project):
    made = new_project()
    made.space("one")
    made.space("two", cell={"name": "exprnn", "hidden_size": 8})
    (made.folder / "pair.yaml").write_text(SUITE, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def first(project):
    """The driver that has run the suite, beside whose first search there was nothing."""
    driver = project.run("search", "pair.yaml", "--json")
    assert driver.popen.returncode == 0, driver.stderr
    return driver


def compared(project, *words, status=0):
    done = CliRunner().invoke(
        main, ["compare", *words, "--storage", str(project.storage), "--json"]
    )
    assert done.exit_code == status, (done.output, done.exception)
    return json.loads(done.stdout) if status == 0 else done


def test_each_search_is_an_ordinary_one_under_the_suites_budget(project, first):
    told = first.json()
    assert told["state"] == "completed"
    assert [one["name"] for one in told["searches"]] == NAMES
    assert told["next"]["compare"] == "longhaul compare pair"
    for name in NAMES:
        record = project.ledger(name).record()
        assert record.state == "completed"
        assert len(record.trials) == 2
        assert {trial.step for trial in record.trials.values()} == {20}


def test_the_table_has_fresh_seeds_intervals_and_what_promise_asks_for(project, first):
    before = compared(project, "pair", "--as-is")
    assert [row["seeds"] for row in before["tables"][0]["rows"]] == [0, 0]

    found = compared(project, "pair")
    assert (found["budget"]["trials"], found["seeds"]) == (2, 2)
    (table,) = found["tables"]
    assert table["metric"] == "accuracy"
    assert table["baseline"] == pytest.approx(10 * math.log(8) / 25)
    for row, name in zip(table["rows"], NAMES, strict=True):
        best = project.ledger(name).record().best()
        assert (row["search"], row["trial"], row["valid_loss"]) == (name, best.number, best.value)
        assert (row["parameters"], row["trials"], row["completed"]) == (best.parameters, 2, 2)
        values, score = row["values"]["loss"], row["scores"]["loss"]
        assert len(set(values)) == row["seeds"] == 2
        assert score["mean"] == pytest.approx(statistics.fmean(values))
        half = 12.706 * abs(values[0] - values[1]) / 2  # Student's t with one degree of freedom
        assert score["high"] - score["mean"] == pytest.approx(half, rel=1e-3)

    seeds = {name: tree for name, tree in project.tree().items() if name.endswith("seeds.json")}
    assert len(seeds) == 2
    assert compared(project, str(project.folder / "pair.yaml"))["tables"] == found["tables"]
    assert {name: project.tree()[name] for name in seeds} == seeds  # nothing is trained twice
    more = compared(project, "pair", "--seeds", "3")["tables"][0]["rows"]
    assert [row["values"]["loss"][:2] for row in more] == [
        row["values"]["loss"] for row in table["rows"]
    ]


def test_the_table_is_written_as_markdown_and_as_a_page(project, first, tmp_path):
    found = compared(project, "pair")
    texts = {
        suffix: (project.storage / "pair" / f"comparison.{suffix}").read_text(encoding="utf-8")
        for suffix in ("md", "html")
    }
    assert [path.rsplit(".")[-1] for path in found["files"]] == ["md", "html"]
    for text in texts.values():
        for needed in ("2 trials", "20 training steps", "2 fresh seeds", "95 %", "Two", "exprnn"):
            assert needed in text
    done = compared(project, "pair", "-o", str(tmp_path / "table.txt"), status=2)
    assert "ends in .md or .html" in done.output
    assert "not been run" in compared(project, "nothing", status=2).output


def test_a_second_call_goes_on_where_the_first_one_stopped(project, first):
    tree = project.tree()
    events = {name: len(project.ledger(name).events()) for name in NAMES}
    again = project.run("search", "pair.yaml", "--json")
    assert again.popen.returncode == 0, again.stderr
    assert {name: len(project.ledger(name).events()) for name in NAMES} == events
    assert project.tree()["pair/suite.yaml"] == tree["pair/suite.yaml"]
    refused = project.run("search", "pair.yaml", "--set", "budget.steps=10")
    assert refused.popen.returncode == 2
    assert "there is another search called pair-1-one" in refused.stderr
