"""Replaying whole ledgers into a database, without faults."""

from pathlib import Path

import pytest

from longhaul.errors import LonghaulError
from longhaul.tracking import layout
from longhaul.tracking.connection import connect, open_experiment
from longhaul.tracking.facts import SearchFacts
from longhaul.tracking.follow import deliver_once
from longhaul.tracking.replay import Replay
from longhaul.tracking.retry import Backoff


def deliver(search, uri, **options):
    replay = Replay(search.ledger, lambda: connect(uri), uri, **options)
    lag = deliver_once(
        search.ledger, replay, timeout_s=1, backoff=Backoff(first_s=0.01, cap_s=0.05)
    )
    return lag, replay.counts


def test_mlflow_equals_the_ledger(whole_search, tracking_uri, content_of, equals_ledger):
    lag, counts = deliver(whole_search, tracking_uri)
    assert lag.delivered
    assert lag.error is None
    content = content_of(tracking_uri)
    equals_ledger(content, whole_search.ledger)
    assert (counts.created, counts.ended) == (8, 8)

    best = content["000 exprnn"]
    assert best["params"]["cell.name"] == "exprnn"
    assert best["params"]["training.clip_norm"] == "null"
    assert (best["params"]["cell.hidden_size"], best["params"]["parameters"]) == ("64", "5000")
    assert content["006 exprnn"]["params"]["parameters"] == "5006"
    # The branch's label is no part of the configuration's path.
    assert best["params"]["cell.learning_rate_ratio_log10"] == "-1.0"
    assert best["params"]["training.optimizer.learning_rate_log10"] == "-3.0"
    assert "cell.forget_bias_log10" not in content["001 lstm"]["params"]
    assert best["artifacts"] == [
        "config.yaml",
        "curves.png",
        "environment.json",
        "history.parquet",
        "weights/best.safetensors",
    ]
    assert best["metrics"]["valid/best_loss"][0][::2] == (600, whole_search.loss(0, 600))
    assert best["metrics"]["test/loss"][0][::2] == (600, whole_search.loss(0, 600) * 1.01)
    assert content["002 exprnn"]["artifacts"] == [
        "config.yaml",
        "environment.json",
        "history.parquet",
    ]
    assert "error.txt" in content["006 exprnn"]["artifacts"]
    assert content["006 exprnn"]["tags"]["longhaul.reason"] == "RuntimeError: boom"
    tags = best["tags"]
    assert {key: tags[f"longhaul.{key}"] for key in ("search", "trial", "cell", "task")} == {
        "search": "toy",
        "trial": "0",
        "cell": "exprnn",
        "task": "copying",
    }
    assert tags["longhaul.protocol"] == "arjovsky-2016"
    assert len(tags["longhaul.spec_sha256"]) == 64
    assert tags["longhaul.version"]


def test_on_the_way_the_lag_tells_how_far_it_got(whole_search, tracking_uri):
    told = []
    replay = Replay(whole_search.ledger, lambda: connect(tracking_uri), tracking_uri)
    deliver_once(whole_search.ledger, replay, 1, lambda lag, counts: told.append((lag, counts)))
    events = whole_search.ledger.events()
    throughs = [lag.through for lag, _ in told]
    assert throughs == sorted(throughs)
    assert len(set(throughs)) > 3
    assert [lag.trials for lag, _ in told] == [*range(len(told) - 2, -1, -1), 0]
    for lag, counts in told:
        assert lag.events == events[-1].sequence - lag.through
        begun = {
            one.trial for one in events if one.kind == "started" and one.sequence <= lag.through
        }
        assert len(begun) <= counts.created
    assert told[-1][0].delivered
    assert not told[-2][0].delivered


def test_parent_run_tells_the_result(whole_search, tracking_uri, content_of):
    deliver(whole_search, tracking_uri)
    content = content_of(tracking_uri)
    parent = content["toy"]
    assert parent["status"] == "FINISHED"
    assert parent["artifacts"] == ["environment.json", "report.html", "spec.yaml", "trials.parquet"]
    note = parent["tags"]["mlflow.note.content"]
    assert "| 0 | exprnn | 0.03867 | 0.223 | 600 |" in note
    assert f"longhaul reproduce toy --storage {whole_search.storage}" in note
    assert "1,650 training steps" in note
    client = connect(tracking_uri)
    (experiment,) = [one for one in client.search_experiments() if one.name != "Default"]
    assert experiment.name == "copying"
    runs = client.search_runs([experiment.experiment_id])
    ids = {run.info.run_name: run.info.run_id for run in runs}
    parents = {run.data.tags.get("mlflow.parentRunId") for run in runs}
    assert parents == {None, ids["toy"]}


def test_second_replay_sends_nothing(whole_search, tracking_uri, content_of):
    deliver(whole_search, tracking_uri)
    before = content_of(tracking_uri)
    for thorough in (False, True):
        _, counts = deliver(whole_search, tracking_uri, thorough=thorough)
        assert (counts.created, counts.points, counts.ended) == (0, 0, 0)
        # As text, because NaN equals nothing.
        assert repr(content_of(tracking_uri)) == repr(before)


def test_replay_at_every_moment_gives_the_same(new_search, tracking_uri, content_of, equals_ledger):
    """A new replay after each event, as after as many crashes, resumed twice by new drivers."""
    search = new_search()
    for number, ending in enumerate(("finish", "stop", "diverge")):
        search.suggest(number)
        deliver(search, tracking_uri)
        search.start(number)
        deliver(search, tracking_uri)
        for until in (100, 250):
            search.train(number, until)
            deliver(search, tracking_uri)
            search.report(number)
            deliver(search, tracking_uri)
        search.give_up("interrupted") if number == 0 else search.die()
        deliver(search, tracking_uri)
        run = content_of(tracking_uri)[f"{number:03d} {'lstm' if number % 2 else 'exprnn'}"]
        assert (run["status"], run["tags"]["longhaul.state"]) == ("KILLED", "interrupted")
        search.resume()
        deliver(search, tracking_uri)
        run = content_of(tracking_uri)[f"{number:03d} {'lstm' if number % 2 else 'exprnn'}"]
        assert (run["status"], run["tags"]["longhaul.state"]) == ("RUNNING", "running")
        search.start(number)
        search.train(number, 600)
        deliver(search, tracking_uri)
        getattr(search, ending)(number)
        deliver(search, tracking_uri)
    search.give_up()
    deliver(search, tracking_uri)
    content = content_of(tracking_uri)
    equals_ledger(content, search.ledger)
    assert content["toy"]["status"] == "FINISHED"


def test_long_curves_and_many_params_are_sent_in_parts(
    new_search, tracking_uri, content_of, equals_ledger
):
    search = new_search()
    search.suggest(0, extra={f"value_{n:03d}": n for n in range(230)}, words="x" * 7000)
    search.start(0)
    search.train(0, 600, every=1)
    search.finish(0)
    search.give_up()
    lag, _ = deliver(search, tracking_uri)
    assert lag.delivered
    run = content_of(tracking_uri)["000 exprnn"]
    assert len(run["metrics"]["valid/loss"]) == 600
    assert run["params"]["extra.value_229"] == "229"
    assert len(run["params"]["words"]) == 6000
    equals_ledger({"000 exprnn": run}, search.ledger)


@pytest.mark.fault("mlflow-deleted", "a trial's run deleted in MLflow")
def test_a_deleted_run_is_left_alone_until_recreated(
    new_search, tracking_uri, content_of, equals_ledger, caplog
):
    search = new_search()
    for number in (0, 1):
        search.suggest(number)
        search.start(number)
        search.train(number, 100)
    uri = tracking_uri
    replay = Replay(search.ledger, lambda: connect(uri), uri)
    deliver_once(search.ledger, replay, 1)
    client = connect(uri)
    (run,) = client.search_runs(["1"], "tags.`longhaul.trial` = '1'")
    client.delete_run(run.info.run_id)
    for number in (0, 1):
        search.train(number, 600)
        search.finish(number)
    search.give_up()
    replay.refresh()
    lag = deliver_once(search.ledger, replay, 1)
    assert lag.skipped == 1
    assert lag.delivered
    assert [r.message for r in caplog.records if "deleted in MLflow" in r.message] == [
        "the run of trial 1 was deleted in MLflow; it is left alone"
    ]
    lag, _ = deliver(search, uri, thorough=True)
    assert set(content_of(uri)) == {"toy", "000 exprnn"}
    lag, _ = deliver(search, uri, thorough=True, recreate=True)
    assert lag.skipped == 0
    equals_ledger(content_of(uri), search.ledger)


@pytest.mark.fault("mlflow-deleted", "the search's run and its experiment deleted")
def test_a_deleted_parent_and_experiment_do_no_harm(new_search, tracking_uri, content_of):
    search = new_search()
    search.run(0, "stop", 100)
    deliver(search, tracking_uri)
    client = connect(tracking_uri)
    (parent,) = client.search_runs(["1"], "attributes.run_name = 'toy'")
    client.delete_run(parent.info.run_id)
    search.run(1, "stop", 100)
    lag, _ = deliver(search, tracking_uri)
    assert (lag.skipped, lag.error) == (1, None)
    client.delete_experiment("1")
    lag, _ = deliver(search, tracking_uri)
    assert "mlflow experiments restore -x 1" in (lag.error or "")
    client.restore_experiment("1")
    search.give_up()
    lag, _ = deliver(search, tracking_uri)
    assert lag.delivered


def test_one_trial_that_mlflow_refuses_does_not_hold_up_the_others(
    new_search, tracking_uri, content_of
):
    search = new_search()
    for number in range(3):
        search.run(number, "stop", 100)
    search.give_up()
    # A run with our tags and a parameter that is not ours: parameters cannot be changed.
    client = connect(tracking_uri)
    facts = SearchFacts.of(search.ledger, search.ledger.events()[0])
    open_experiment(client, tracking_uri, "copying")
    tags = {"longhaul.search_id": facts.identity, "longhaul.trial": "1"}
    run = client.create_run("1", tags=tags, run_name="foreign")
    client.log_param(run.info.run_id, "seed", "5")
    lag, _ = deliver(search, tracking_uri)
    assert list(lag.undeliverable) == [1]
    assert "seed" in lag.undeliverable[1]
    assert not lag.delivered
    content = content_of(tracking_uri)
    assert content["000 exprnn"]["status"] == content["002 exprnn"]["status"] == "KILLED"
    assert content["toy"]["status"] == "FINISHED"


def test_second_runs_of_a_trial_are_removed(new_search, tracking_uri, content_of, equals_ledger):
    """What a lost answer to a creation leaves behind."""
    search = new_search()
    search.run(0, "stop", 100)
    deliver(search, tracking_uri)
    client = connect(tracking_uri)
    (run,) = client.search_runs(["1"], "tags.`longhaul.trial` = '0'")
    for _ in range(2):
        tags = {key: run.data.tags[key] for key in ("longhaul.search_id", "longhaul.trial")}
        client.create_run("1", tags=tags, run_name="000 exprnn")
    search.give_up()
    lag, _ = deliver(search, tracking_uri)
    assert lag.delivered
    equals_ledger(content_of(tracking_uri), search.ledger)


@pytest.mark.parametrize(
    "location", ["/etc/longhaul", "file:///proc/self/root/tmp", "mlflow-artifacts:/../../etc"]
)
def test_foreign_artifact_locations_are_refused(whole_search, tracking_uri, location, monkeypatch):
    client = connect(tracking_uri)
    client.create_experiment("copying", artifact_location=location)
    lag, _ = deliver(whole_search, tracking_uri)
    assert "LONGHAUL_ARTIFACTS" in (lag.error or "")
    assert client.search_runs(["1"]) == []


def test_two_searches_of_one_name_stay_apart(new_search, tmp_path, tracking_uri, content_of):
    first = new_search()
    first.run(0, "stop", 100)
    first.give_up()
    deliver(first, tracking_uri)
    second = type(first)(tmp_path / "elsewhere")
    second.run(0, "stop", 200)
    second.give_up()
    deliver(second, tracking_uri)
    runs = connect(tracking_uri).search_runs(["1"], "tags.`longhaul.trial` = '0'")
    assert sorted(run.data.tags["longhaul.delivered_step"] for run in runs) == ["100", "200"]


def test_paths_of_optuna_names() -> None:
    config = {"cell": {"name": "exprnn", "w": {"name": "svd", "margin": 1}}, "training": {"x": 2}}
    assert layout.config_path("cell.exprnn.w.svd.margin", config) == "cell.w.margin"
    assert layout.config_path("training.x", config) == "training.x"
    assert layout.config_path("cell", config) == "cell"
    assert layout.config_path("cell.1.missing", config) == "cell.1.missing"


def test_values_as_text() -> None:
    texts = [layout.text(v) for v in (0.1, 1e-7, 3, True, None, "a", [1, "b"])]
    assert texts == ["0.1", "1e-07", "3", "true", "null", "a", '[1, "b"]']


def test_description_stays_within_mlflows_limit(new_search) -> None:
    from longhaul.tracking.description import describe

    search = new_search()
    for number in range(12):
        search.suggest(number, cell={"name": "c" * 2000})
        search.start(number)
        search.train(number, 600)
        search.finish(number)
    note = describe(search.ledger, search.ledger.record())
    assert len(note) <= 8000
    assert f"longhaul reproduce toy --storage {search.storage}" in note


def test_errors_of_addresses() -> None:
    for uri in ("./mlruns", "file:///tmp/mlruns", "databricks", ""):
        with pytest.raises(LonghaulError, match="expected http"):
            connect(uri)


def test_secrets_reach_neither_mlflow_nor_the_log(
    new_search, tracking_uri, tmp_path: Path, monkeypatch, caplog
):
    monkeypatch.setenv("CANARY_TOKEN", "canary-in-the-environment")
    search = new_search()
    search.suggest(0)
    search.start(0)
    search.fail(0, "ConnectionError: http://ada:canary-in-the-url@host/x password=canary-said")
    search.give_up()
    deliver(search, tracking_uri)
    uri = "http://ada:canary-in-the-address@127.0.0.1:9"
    lag, _ = deliver(search, uri)
    assert "canary" not in (lag.error or "canary")
    assert "canary" not in caplog.text
    for path in [tmp_path / "mlflow.db", *(tmp_path / "mlflow-artifacts").rglob("*")]:
        if path.is_file():
            assert b"canary" not in path.read_bytes(), path
