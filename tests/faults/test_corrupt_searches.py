"""Files of a search that are cut, changed or gone when it is taken up again."""

import os
import signal

import pytest
from click.testing import CliRunner

from longhaul.cli.main import main
from longhaul.ledger import Ledger
from longhaul.search.run import SearchRun
from longhaul.spec.search_spec import SearchSpec

CELL = {"name": "slow_lstm", "hidden_size": 8, "wait_s": 0.05}
CELL["forget_bias"] = {"uniform": [0, 3]}


SPACE = """
task: {name: copying, delay: 5}
cell: {name: lstm, hidden_size: 8, forget_bias: {uniform: [0, 3]}}
training: {steps: 9}
search: {trials: 3}
"""


def run(storage, *words):
    return CliRunner().invoke(main, [*words, "--storage", str(storage)])


@pytest.mark.fault("torn-spec", "the specification cut at the end of each line, or empty")
def test_a_torn_specification_is_named_and_nothing_begins_anew(tmp_path):
    spec = SearchSpec.from_text(SPACE, "space.yaml", name="s")
    ledger = Ledger.create(tmp_path, "s", spec.to_yaml(), {})
    with ledger.acquire() as writer:
        begun = SearchRun(spec, ledger, writer)
        begun.opened()
        begun.next_trial("a")
    path, events = tmp_path / "s" / "spec.yaml", ledger.events()
    lines = path.read_bytes().splitlines(keepends=True)
    for count in range(len(lines)):
        path.write_bytes(b"".join(lines[:count]))
        done = run(tmp_path, "resume", "s", "--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db")
        assert done.exit_code == 2, (count, done.output, done.exception)
        assert "s/spec.yaml" in done.stderr
        assert ledger.events() == events


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.fault(
    "torn-checkpoint", "the newest checkpoint torn under a trial that is then killed"
)
def test_a_killed_trial_goes_on_from_the_older_checkpoint(new_project, invariants):
    project = new_project()
    search = {"trials": 2, "checkpoint_every_s": 0.001}
    driver = project.start("search", project.space("torn", cell=CELL, search=search), "--json")
    point = project.await_witness(
        driver, lambda one: "row" in one and one["row"]["step"] in (20, 25, 30)
    )
    with project.held():
        folder = project.storage / "torn" / "trials" / f"{point['trial']:05d}" / "checkpoint"
        newest = sorted(path for path in folder.iterdir() if (path / "manifest.json").exists())[-1]
        state = newest / "state.safetensors"
        state.write_bytes(state.read_bytes()[:-7])
        os.kill(point["pid"], signal.SIGKILL)
    assert driver.wait() == 0, driver.stderr
    invariants.hold(project, "torn", 2, driver)
    invariants.delivered(project, "torn")
