"""Delivery past a server that is down, slow, hanging, failing or restarted."""

import random

import pytest

from longhaul.tracking.connection import connect
from longhaul.tracking.follow import deliver_once
from longhaul.tracking.replay import Replay
from longhaul.tracking.retry import Backoff


@pytest.fixture(autouse=True)
def _short_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    # Set here too, so that what connect() sets is undone after the test.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def deliver(search, uri, timeout_s=60.0):
    replay = Replay(search.ledger, lambda: connect(uri), uri)
    return deliver_once(search.ledger, replay, timeout_s, backoff=Backoff(0.01, 0.1))


def small(search):
    search.run(0, "finish", 600)
    search.run(1, "stop", 100)
    search.run(2, "diverge", 100)
    search.give_up()


@pytest.mark.fault(
    "mlflow-flaky",
    "each request answered 500, then 429, then 500 after it was carried out",
)
def test_answers_lost_before_and_after_the_work(
    new_search, mlflow_server, fault_proxy, content_of, equals_ledger
):
    search = new_search()
    small(search)
    # Each request is twice not carried out, then carried out without an answer, then let through.
    tries: dict[str, int] = {}

    def fault(method: str, path: str) -> str:
        kind = path.partition("?")[0]
        tries[kind] = tries.get(kind, 0) + 1
        return ("before", "busy", "after", "pass")[(tries[kind] - 1) % 4]

    fault_proxy.fault = fault
    assert deliver(search, fault_proxy.uri).delivered
    assert fault_proxy.seen["before"] > 5
    assert fault_proxy.seen["busy"] > 5
    assert fault_proxy.seen["after"] > 5
    content = content_of(mlflow_server.uri)
    assert set(content) == {"toy", "000 exprnn", "001 lstm", "002 exprnn"}
    equals_ledger(content, search.ledger)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hang", "cut", "after", "before"])
@pytest.mark.fault(
    "mlflow-flaky",
    "hanging, cut connections and 500s in 30 to 40 % of the requests",
)
def test_random_faults(
    kind, new_search, mlflow_server, fault_proxy, content_of, equals_ledger, monkeypatch
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    search = new_search()
    small(search)
    dice = random.Random(0)
    share = 0.3 if kind == "hang" else 0.4
    fault_proxy.fault = lambda method, path: kind if dice.random() < share else "pass"
    assert deliver(search, fault_proxy.uri).delivered
    assert fault_proxy.seen[kind] > 1
    equals_ledger(content_of(mlflow_server.uri), search.ledger)


@pytest.mark.slow
@pytest.mark.fault("mlflow-flaky", "a run is created after its client has given up")
def test_a_creation_that_is_carried_out_late_leaves_no_second_run(
    new_search, mlflow_server, fault_proxy, content_of, equals_ledger, monkeypatch
):
    """The look-up before the second try cannot see what the server has not done yet."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    search = new_search()
    small(search)
    hung: list[str] = []

    def fault(method: str, path: str) -> str:
        if path.endswith("runs/create") and len(hung) < 2:
            hung.append(path)
            return "late"
        return "pass"

    fault_proxy.fault = fault
    assert deliver(search, fault_proxy.uri).delivered
    assert fault_proxy.seen["late"] == 2
    equals_ledger(content_of(mlflow_server.uri), search.ledger)


@pytest.mark.slow
@pytest.mark.fault("mlflow-flaky", "300 ms for each request")
def test_slow_server(new_search, mlflow_server, fault_proxy, content_of, equals_ledger):
    search = new_search()
    small(search)
    fault_proxy.delay_s = 0.3
    assert deliver(search, fault_proxy.uri).delivered
    equals_ledger(content_of(mlflow_server.uri), search.ledger)


@pytest.mark.slow
@pytest.mark.fault("mlflow-dead", "SIGKILL of the server, started again later")
def test_server_killed_and_started_again(
    new_search, mlflow_server, content_of, equals_ledger, tmp_path
):
    from longhaul.tracking import TrackingProcess

    search = new_search()
    process = TrackingProcess(str(search.storage), "toy", mlflow_server.uri)
    process.start()
    search.run(0, "finish")
    mlflow_server.stop()
    search.run(1, "stop", 100)
    search.run(2, "diverge", 100)
    search.give_up()
    assert not process.drain(timeout_s=3).delivered
    process.stop()
    mlflow_server.start()
    assert deliver(search, mlflow_server.uri).delivered
    equals_ledger(content_of(mlflow_server.uri), search.ledger)
