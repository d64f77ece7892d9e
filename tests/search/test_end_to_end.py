"""Whole searches by the command line, with real Ray, Optuna and MLflow; each starts Ray once."""

import json
import math
import shutil

import pytest
from click.testing import CliRunner

from longhaul.cli.main import main
from longhaul.search.study import Study
from longhaul.spec.search_spec import SearchSpec

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

CELLS = {
    "choice": [
        {"name": "exprnn", "hidden_size": 8, "learning_rate_ratio": {"loguniform": [0.01, 1]}},
        {"name": "lstm", "hidden_size": 8, "forget_bias": {"uniform": [0, 3]}},
    ]
}
# Some rungs lie between two points of the evaluation, as the shipped spaces' do.
RUNGS = [6, 18, 45]
RATES = {"name": "adam", "learning_rate": {"loguniform": [1e-5, 1e-1]}}
TRIALS = 8
ENDED = ("completed", "stopped", "diverged", "failed")


@pytest.fixture(scope="module")
def project(new_project):
    return new_project()


@pytest.fixture(scope="module")
def first(project):
    """The driver of one search that has run to its end."""
    search = {"trials": TRIALS, "scheduler": {"name": "asha", "grace_steps": RUNGS[0]}}
    space = project.space("tiny", cell=CELLS, training={"optimizer": RATES}, search=search)
    driver = project.run("search", space, "--json")
    assert driver.popen.returncode == 0, driver.stderr
    return driver


@pytest.fixture
def ledger(project, first):
    return project.ledger("tiny")


@pytest.fixture
def copied(first, project, tmp_path):
    """The storage once more, to be changed."""
    shutil.copytree(project.storage, tmp_path / "runs")
    return tmp_path / "runs"


def invoke(*words, status=0):
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == status, (done.output, done.exception)
    return done


def test_json_is_one_object_and_says_how_it_ended(first, ledger):
    result = first.json()
    assert result["state"] == "completed"
    assert result["name"] == "tiny"
    record = ledger.record()
    best = record.best()
    assert (result["best"], result["value"]) == (best.number, best.value)
    assert result["config"] == best.config
    assert sum(result["counts"].values()) == TRIALS
    assert set(result["counts"]) <= {"completed", "stopped"}
    assert "Traceback" not in first.stderr


def test_the_ledger_is_whole(ledger):
    record = ledger.record()
    assert record.state == "completed"
    assert not ledger.is_owned()
    assert sorted(record.trials) == ledger.trial_numbers() == list(range(TRIALS))
    kinds = [event.kind for event in ledger.events()]
    assert kinds[0] == "opened"
    assert kinds[-1] == "closed"
    for kind in ("suggested", "started"):
        assert kinds.count(kind) == TRIALS
    for number, trial in record.trials.items():
        folder = ledger.trial(number)
        assert trial.state in ENDED
        assert folder.config() == trial.config
        steps = [step for step, _ in trial.reports]
        assert steps == RUNGS[: len(steps)]
        assert trial.step == steps[-1]
        points = sorted({*range(5, trial.step + 1, 5), *steps})
        assert list(folder.history()["step"].to_pylist()) == points
        completed = trial.state == "completed"
        assert (trial.step == RUNGS[-1]) == completed
        assert (folder.result() is not None) == completed
        assert (folder.weights() is not None) == completed
        assert folder.error() is None
        if completed:
            assert folder.result()["valid/loss"] == trial.value
            assert math.isfinite(folder.result()["test/loss"])


def test_what_was_reported_is_the_lowest_loss_so_far(ledger, recorded_history):
    for number, trial in ledger.record().trials.items():
        history = recorded_history(ledger, number)
        for step, value in trial.reports:
            assert value == min(row["valid/loss"] for at, row in history.items() if at <= step)


def test_early_stopping_stopped_some_and_kept_the_best_of_each_rung(ledger):
    record = ledger.record()
    assert record.counts()["stopped"] > 0
    for rung in RUNGS[:-1]:
        values = {n: dict(t.reports)[rung] for n, t in record.trials.items() if t.step >= rung}
        if values:
            assert record.trials[min(values, key=values.get)].step > rung
    assert record.steps_saved == sum(RUNGS[-1] - one.step for one in record.trials.values())


def test_every_curve_is_what_the_trainers_alone_produce(ledger, expected_history, recorded_history):
    for number, trial in ledger.record().trials.items():
        rungs = [step for step, _ in trial.reports]
        assert recorded_history(ledger, number) == expected_history(trial.config, rungs)


def test_mlflow_has_what_the_ledger_has(project, ledger, content_of, equals_ledger):
    content = content_of(project.tracking_uri)
    assert len(content) == TRIALS + 1
    equals_ledger(content, ledger)


@pytest.mark.fault("twice", "the command of a search that is complete, once more")
def test_the_same_command_again_shows_the_result_without_ray(project, first, ledger):
    events = ledger.events()
    trials = project.tree(project.storage / "tiny" / "trials")
    # A package that would be found before Ray, and cannot be imported.
    (project.plugins / "ray").mkdir()
    (project.plugins / "ray" / "__init__.py").write_text("raise ImportError('Ray is not wanted')")
    try:
        again = project.run(*first.words)
    finally:
        shutil.rmtree(project.plugins / "ray")
    assert again.popen.returncode == 0, again.stderr
    assert again.json() == first.json()
    assert project.ledger("tiny").events() == events
    assert project.tree(project.storage / "tiny" / "trials") == trials


@pytest.mark.fault("twice", "another space under a name that is taken")
def test_another_space_of_the_same_name_is_refused(project, first, ledger):
    before = project.tree()
    path = project.folder / "tiny.yaml"
    words = ("search", path, "--storage", project.storage, "--set", "cell.lstm.forget_bias=1")
    refused = invoke(*words, status=2)
    assert "forget_bias" in refused.stderr
    assert "--name tiny-2" in refused.stderr
    assert refused.stdout == ""
    assert project.tree() == before


def test_resources_that_do_not_exist_are_refused_before_anything_is_created(project, first):
    before = project.tree(project.folder)
    path = project.folder / "tiny.yaml"
    words = ("search", path, "--name", "huge", "--storage", project.storage)
    refused = invoke(*words, "--set", "resources.cpus=1000", status=2)
    assert "1000" in refused.stderr
    assert project.tree(project.folder) == before


def test_what_a_joined_search_may_change_is_taken_from_the_command(
    project, first, copied, monkeypatch
):
    asked = []

    def stop_here(spec, *_):
        asked.append(spec)
        raise RuntimeError("far enough")

    monkeypatch.setattr("longhaul.search.driver.SearchRun", stop_here)
    words = ("search", project.folder / "tiny.yaml", "--storage", copied)
    invoke(*words, "--set", "resources.cpus=0.5", "--set", "search.retries=7", status=1)
    assert (asked[0].resources.cpus, asked[0].search.retries) == (0.5, 7)


@pytest.mark.parametrize("words", [("resume", "tyni"), ("reproduce", "tyni")])
def test_a_misspelt_search_is_answered_with_the_nearest(project, first, words):
    refused = invoke(*words, "--storage", project.storage, status=2)
    assert "tiny" in refused.stderr.replace("tyni", "")
    assert not (project.storage / "tyni").exists()


def reproduce(project, what, *words, storage=None, status=0):
    options = ("--storage", storage or project.storage, "--tracking-uri", project.tracking_uri)
    return json.loads(invoke("reproduce", what, *words, *options, "--json", status=status).stdout)


def test_the_best_trial_can_be_reproduced(project, ledger):
    verdict = reproduce(project, "tiny")
    assert verdict["verdict"] == "identical", verdict
    assert verdict["label"] == f"tiny/{ledger.record().best().number:05d}"
    assert verdict["equal"] == verdict["values"] > 0


def test_a_stopped_trial_can_be_reproduced(project, ledger):
    number = next(n for n, one in ledger.record().trials.items() if one.state == "stopped")
    assert reproduce(project, f"tiny/{number}")["verdict"] == "identical"


def test_a_trial_can_be_reproduced_from_mlflow_alone(project, ledger, tmp_path):
    from mlflow import MlflowClient

    best = ledger.record().best().number
    client = MlflowClient(tracking_uri=project.tracking_uri)
    experiments = [one.experiment_id for one in client.search_experiments()]
    (run,) = client.search_runs(experiments, f"tags.`longhaul.trial` = '{best}'")
    verdict = reproduce(project, run.info.run_id, storage=tmp_path / "nothing")
    assert verdict["verdict"] == "identical", verdict


def test_a_recording_that_was_tampered_with_is_different(project, ledger, copied):
    from longhaul.ledger import Ledger

    number = ledger.record().best().number
    tampered = Ledger.open(copied, "tiny")
    folder = tampered.trial(number)
    rows = folder.history().to_pylist()
    rows[3]["valid/loss"] *= 1.5
    shutil.rmtree(copied / "tiny" / folder.path / "history")
    folder.append_history(rows, tampered.lease().fence)
    verdict = reproduce(project, "tiny", storage=copied, status=1)
    assert verdict["verdict"] == "different"
    first = verdict["first"]
    assert (first["step"], first["metric"]) == (rows[3]["step"], "valid/loss")
    assert first["recorded"] == rows[3]["valid/loss"]
    assert first["repeated"] == pytest.approx(rows[3]["valid/loss"] / 1.5)
    assert verdict["equal"] == verdict["values"] - 1


def test_fresh_seeds_have_a_mean_and_an_interval(project, first):
    study = reproduce(project, "tiny", "--seeds", "3")
    losses = study["values"]["valid/loss"]
    assert len(set(study["seeds"])) == len(set(losses)) == 3
    summary = study["summary"]["valid/loss"]
    assert summary["mean"] == pytest.approx(sum(losses) / 3)
    assert summary["low"] < summary["mean"] < summary["high"]
    assert study["diverged"] == 0


@pytest.fixture(scope="module")
def others(new_project, first):
    """Three searches with trouble, and the first one extended, all on one running cluster."""
    project = new_project()
    broken = {"name": "broken", "hidden_size": 8, "forget_bias": {"uniform": [0, 3]}}
    lstm = {"name": "lstm", "hidden_size": 8, "forget_bias": {"uniform": [0, 3]}}
    explosive = {"name": "sgd", "learning_rate": {"loguniform": [1e29, 1e30]}}
    full = {"scheduler": "full", "sampler": "random"}
    project.space("mixed", cell={"choice": [lstm, broken]}, search={"trials": 3, "seed": 2} | full)
    hopeless = {"trials": 5, "max_failed_trials": 1, "retries": 0}
    project.space("hopeless", cell=broken, search=hopeless | full)
    project.space("explosive", training={"optimizer": explosive}, search={"trials": 2} | full)
    shutil.copytree(first.folder / "longhaul-runs" / "tiny", project.storage / "tiny")
    address = project.start_cluster(cpus=4)
    options = ("--json", "--parallel", "1", "--address", address)
    commands = {name: ("search", f"{name}.yaml") for name in ("mixed", "hopeless", "explosive")}
    commands["tiny"] = ("resume", "tiny", "--trials", str(TRIALS + 2))
    drivers = {}
    for name, words in commands.items():
        tracking = ("--tracking-uri", project.new_tracking_uri(name))
        drivers[name] = project.start(*words, *options, *tracking)
    for driver in drivers.values():
        driver.wait()
    return project, drivers


@pytest.mark.fault("extend", "a search that is complete, raised to more trials")
def test_more_trials_are_added_and_none_is_repeated(others, ledger):
    project, drivers = others
    assert drivers["tiny"].popen.returncode == 0, drivers["tiny"].stderr
    extended = project.ledger("tiny")
    before, after = ledger.events(), extended.events()
    assert after[: len(before)] == before
    assert sorted(extended.record().trials) == list(range(TRIALS + 2))
    new = after[len(before) :]
    assert {event.trial for event in new if event.kind == "started"} == {TRIALS, TRIALS + 1}
    configs = [
        json.dumps({key: value for key, value in one.config.items() if key != "seed"})
        for one in extended.record().trials.values()
    ]
    assert len(set(configs)) == TRIALS + 2
    for number in range(TRIALS):
        assert extended.trial(number).history().equals(ledger.trial(number).history())
    assert drivers["tiny"].json()["state"] == "completed"


@pytest.mark.parametrize("name", ["tiny", "mixed", "hopeless", "explosive"])
def test_mlflow_has_every_ending(others, name, content_of, equals_ledger):
    project, _ = others
    equals_ledger(content_of(f"sqlite:///{project.folder / name}.db"), project.ledger(name))


def test_a_failing_trial_leaves_the_others_alone(others, expected_history, recorded_history):
    project, drivers = others
    assert drivers["mixed"].popen.returncode == 0, drivers["mixed"].stderr
    assert drivers["mixed"].json()["state"] == "completed"
    ledger = project.ledger("mixed")
    for number, trial in ledger.record().trials.items():
        if trial.config["cell"]["name"] == "broken":
            assert (trial.state, trial.attempts) == ("failed", 2)
            assert trial.reason == "RuntimeError: this cell is broken"
            assert "witness.py" in ledger.trial(number).error()
        else:
            assert (trial.state, trial.attempts) == ("completed", 1)
            assert recorded_history(ledger, number) == expected_history(trial.config, [45])
    assert {"failed", "completed"} == set(drivers["mixed"].json()["counts"])


def test_a_search_whose_trials_all_fail_says_why_once(others):
    project, drivers = others
    driver = drivers["hopeless"]
    assert driver.popen.returncode == 1
    result = driver.json()
    assert result["state"] == "failed"
    assert result["reason"] == (
        "2 trials failed, search.max_failed_trials allows 1; the last one: "
        "RuntimeError: this cell is broken"
    )
    assert result["counts"]["failed"] == 2
    assert "Traceback" not in driver.stderr + driver.stdout
    assert driver.stderr.count("this cell is broken") <= 1
    record = project.ledger("hopeless").record()
    assert (record.state, record.reason) == ("failed", result["reason"])


@pytest.mark.fault("number", "a whole search whose trials diverge")
def test_diverging_trials_end_as_such_and_teach_the_sampler_nothing_absurd(others):
    project, drivers = others
    driver = drivers["explosive"]
    assert driver.popen.returncode == 1
    assert driver.json()["reason"].startswith("no trial")
    assert driver.json()["counts"] == {"diverged": 2}
    assert driver.json()["best"] is None
    ledger = project.ledger("explosive")
    for trial in ledger.record().trials.values():
        assert trial.state == "diverged"
        assert 1 <= trial.step < 45
        assert trial.reason
    study = Study(SearchSpec.from_text(ledger.spec_text(), "spec.yaml"))
    study.rebuild(ledger.events())
    for trial in study._study.get_trials():
        assert trial.state.name == "FAIL"
        assert trial.values is None
        assert all(math.isfinite(value) for value in trial.intermediate_values.values())
