"""A suite whose searches look for something else than the lowest loss, and what its table says."""

import pytest
import torch

from longhaul.comparison import words
from longhaul.comparison.files import markdown
from longhaul.comparison.record import read_suite, write_suite
from longhaul.comparison.seeds import kept_runs
from longhaul.comparison.table import compare
from longhaul.ledger import Ledger, open_storage
from longhaul.search.own_pack import OwnPack
from longhaul.search.run import SearchRun
from longhaul.search.trial_run import TrialRun
from longhaul.spec.suite import Suite
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig

SPACE = """\
task: {name: copying, delay: 2}
cell: {name: CELL, hidden_size: 12}
training:
  batch_size: 4
  evaluate_every: 2
  validation_size: 20
  test_size: 20
  optimizer: {name: rmsprop, learning_rate: {loguniform: [0.02, 0.05]}}
"""
SUITE = """\
budget: {trials: 2, steps: 40, scheduler: full}
seeds: 2
set: ["search.objective=OBJECTIVE"]
searches: [{space: rnn.yaml}, {space: lstm.yaml}]
"""


def run(root, spec):
    """A whole search, one trial after the other in this process."""
    ledger = Ledger.create(root, spec.name, spec.to_yaml(), {"threads": 1, "device": "cpu"})
    with ledger.acquire() as writer:
        search = SearchRun(spec, ledger, writer)
        search.opened()
        while (handed := search.next_trial("one")) is not None:
            config = handed["config"]
            trial = TrialRun(
                ledger.trial(handed["number"]),
                lambda checkpoint, config=config: OwnPack(config, "cpu", checkpoint),
                spec.rungs(),
                heard=0,
                fence=writer.fence,
                checkpoint_every_s=1e9,
                objective=spec.search.objective,
                batch_size=config["training"]["batch_size"],
            )
            ledger.trial(handed["number"]).write_environment({"threads": 1, "device": "cpu"})
            search.started("one", "here")
            report = trial.advance()
            told = {"step": report.step, "value": report.value, "diverged": report.diverged}
            search.ended("one", told, error=False)
        search.close()
    return ledger


@pytest.fixture
def compared(tmp_path):
    def compared(objective):
        for cell in ("rnn", "lstm"):
            text = SPACE.replace("CELL", cell)
            (tmp_path / f"{cell}.yaml").write_text(text, encoding="utf-8")
        path = tmp_path / "pair.yaml"
        path.write_text(SUITE.replace("OBJECTIVE", objective), encoding="utf-8")
        suite, root = Suite.load(str(path)), open_storage(str(tmp_path / "runs"))
        write_suite(root, suite)
        ledgers = [run(root, one.spec) for one in suite.searches]
        return ledgers, compare(root, read_suite(root, "pair"), 2, lambda *_: None)

    return compared


def trained_again(config):
    """The points of a training with what it then reaches on the test set."""
    pack, points = Pack([TrialConfig.parse(config)]), []
    for (point,) in pack.train():
        alone = Pack([pack.trials[0]])
        alone.model.load_state_dict(pack.model.state_dict())
        batch = pack.task.evaluation_set("test", 20)
        with torch.no_grad():
            (outputs,) = alone.model(batch.inputs.unsqueeze(1))
        accuracy = pack.task.metrics(outputs, batch.targets)["accuracy"].item()
        points.append(point.metrics | {"test/accuracy": accuracy})
    return points


def highest(points):
    return max(points, key=lambda point: point["valid/accuracy"])


def lowest(points):
    return min(points, key=lambda point: point["valid/loss"])


def test_a_suite_may_look_for_the_highest_accuracy(compared):
    ledgers, found = compared("accuracy")
    (table,) = found.tables
    assert table.metric == "accuracy"
    assert "best validation accuracy" in " ".join(words.rules(found))
    differ = []
    for ledger, row in zip(ledgers, table.rows, strict=True):
        record = ledger.record()
        curves = [ledger.trial(n).history().to_pylist() for n in sorted(record.trials)]
        reached = [highest(curve)["valid/accuracy"] for curve in curves]
        assert row.trial == reached.index(max(reached))
        assert row.selected == f"{max(reached):.4g}"
        config = record.trials[row.trial].config
        assert config["training"]["select"] == "accuracy"
        assert row.valid_loss == highest(curves[row.trial])["valid/loss"]
        again = [trained_again(config | {"seed": one.seed}) for one in kept_runs(ledger, row.trial)]
        scores = [highest(points)["test/accuracy"] for points in again]
        assert row.values["accuracy"] == pytest.approx(scores)
        by_loss = [lowest(points)["test/accuracy"] for points in again]
        differ.append(by_loss != pytest.approx(scores))
    assert any(differ)  # else the loss might as well have selected
    text = markdown(found)
    assert "| validation accuracy | validation loss | test accuracy |" in text


def test_a_suite_may_look_for_the_fewest_steps(compared):
    ledgers, found = compared("{name: steps_to_solve, solved: loss < 1.2}")
    (table,) = found.tables
    (heading,) = {row.selected_by for row in table.rows}
    assert heading in words.columns(table)
    for ledger, row in zip(ledgers, table.rows, strict=True):
        assert words.cells(table, row)[words.columns(table).index(heading)] == row.selected
        curve = ledger.trial(row.trial).history().to_pylist()
        solved = [point["step"] for point in curve if point["valid/loss"] < 1.2]
        if solved:
            assert (ledger.record().best().value, row.selected) == (solved[0], f"{solved[0]}")
        assert row.valid_loss == lowest(curve)["valid/loss"]
    assert any("unsolved" not in row.selected for row in table.rows)
