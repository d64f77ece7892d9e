"""What plain Ray Tune with Optuna and MLflow keeps when things break.

    .venv/bin/python benchmarks/plain_faults.py [ROW ...]

The column beside Longhaul's in faults.md: the same faults, done to a search as the documentations
of the three show it (plain_breakable.py). Writes plain_faults.json to benchmarks/results/, row
by row; rows that are not named keep what was measured before. Linux only, as root for the disk and
the network; the database needs PostgreSQL and psycopg2.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from plain_life import PLANNED, SETTINGS, Plain, begun, plain
from plain_surroundings import cluster, fault_proxy, mlflow_server, network, postgres

FOLDER = Path(__file__).parent
RESULT = FOLDER / "results" / "plain_faults.json"


def driver() -> str:
    """SIGKILL of the driver, then `Tuner.restore`."""
    with begun(24) as one:
        one.kill()
        missing = one.missing()
        one.start(restore=True)
        end = one.end()
        return (
            f"{missing}; after `Tuner.restore` ({end}) {one.again()} reports made twice; "
            f"{one.tracked()} for {SETTINGS['trials']} trials"
        )


def trial() -> str:
    """SIGKILL of a trial's process, with Tune's defaults."""
    with begun(12) as one:
        os.kill(one.lines()[-1]["pid"], signal.SIGKILL)
        end = one.end()
        return f"{one.given_up()} (`max_failures` is 0); {end}"


def signals() -> str:
    """SIGTERM to the driver."""
    with begun(24) as one:
        one.send(signal.SIGTERM)
        return f"SIGTERM: {one.end()}, {one.missing()}"


def number() -> str:
    """A trial that reports NaN, beside healthy ones, under ASHA."""
    with plain(nan=True) as one:
        one.start()
        end = one.end()
        steps: Counter[float] = Counter()
        for line in one.lines():
            steps[line["x"]] += 1
        sick = max(count for x, count in steps.items() if x > 0.9)
        stopped = sum(count < SETTINGS["steps"] for x, count in steps.items() if x <= 0.9)
        return (
            f"ASHA ran the trial of NaN for {sick} of {SETTINGS['steps']} steps and stopped "
            f"{stopped} healthy ones; {end}"
        )


def hang() -> str:
    """A trial that hangs."""
    with begun(6) as one:
        (one.folder / "hang").touch()
        end = one.end(90)
        return f"nothing notices: {end}"


def torn_spec() -> str:
    """The newest state file cut in the middle."""
    with begun(30) as one:
        one.kill()
        taken = len(set(one.truth()))
        newest = max(Path(one.settings["storage"]).rglob("experiment_state-*.json"))
        newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
        one.start(restore=True)
        end = one.end(120)
        lost = 0 if one.states() else taken
        return f"`Tuner.restore`: {end}; {lost} of {taken} reports out of reach"


def twice() -> str:
    """The same search started again, after its driver was killed."""
    with begun(30) as one:
        one.kill()
        old = len(set(one.truth()))
        one.start()
        end = one.end()
        return (
            f"begun anew without a word ({end}): {one.tried_twice()} configurations tried twice, "
            f"{old} earlier reports in no result"
        )


def disk() -> str:
    """The disk of the results fills up."""
    with plain() as one:
        storage = one.folder / "small"
        storage.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(storage)], check=True)
        try:
            one.settings["storage"] = str(storage)
            one.start()
            one.await_reports(12)
            ballast = storage / "ballast"
            with suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            end = one.end(120)
            ballast.unlink()
            lost = one.missing()
            one.start(restore=True)
            again = one.end(120)
            done = one.states()["TERMINATED"]
            return (
                f"{end}, {lost}; with space again `Tuner.restore`: {again}, "
                f"{done} of {SETTINGS['trials']} trials complete"
            )
        finally:
            one.kill()
            subprocess.run(["umount", "--lazy", str(storage)], check=True)


def mlflow_dead() -> str:
    """SIGKILL of the MLflow server, for good."""
    with plain() as one, mlflow_server(one.folder) as server:
        one.start(tracking_uri=server.uri)
        one.await_reports(10)
        server.stop()
        time.sleep(3)
        return _pace(one)


def mlflow_flaky() -> str:
    """300 ms for each request, and 5 % answered 500 after they were carried out."""
    with plain() as one, mlflow_server(one.folder) as server, fault_proxy(server.uri) as proxy:
        proxy.fail(0.05, delay_s=0.3)
        one.start(tracking_uri=proxy.uri)
        with suppress(TimeoutError):  # it may end before
            one.await_reports(3)
        return _pace(one)


def _pace(one: Plain) -> str:
    """How much a search does while its tracking is in trouble."""
    before = len(one.truth())
    time.sleep(60)
    after = len(one.truth())
    state = "goes on" if one.running() else "has ended"
    return (
        f"{after - before} reports of all trials in 60 s, {PLANNED - before} were to be made, "
        f"each takes {SETTINGS['wait_s']} s; the search {state}"
    )


def mlflow_deleted() -> str:
    """The run of a trial that trains is deleted in MLflow."""
    with begun(24) as one:
        code = "import mlflow, sys; c = mlflow.MlflowClient(sys.argv[1]); "
        code += "e = c.get_experiment_by_name('plain').experiment_id; "
        code += "c.delete_run(c.search_runs([e], \"status = 'RUNNING'\")[0].info.run_id)"
        words = [sys.executable, "-P", "-c", code, one.settings["tracking_uri"]]
        subprocess.run(words, check=True, capture_output=True)
        end = one.end(180)
        return f"{end}; {one.given_up()}, {one.missing()}"


def database() -> str:
    """PostgreSQL behind the MLflow server stops at once, and is back 3 s later."""
    with plain() as one, postgres() as base, mlflow_server(one.folder, base.uri) as server:
        one.start(tracking_uri=server.uri)
        one.await_reports(10)
        base.stop()
        time.sleep(3)
        base.start()
        return _pace(one)


def node() -> str:
    """SIGKILL of a node on which trials train, with retries allowed."""
    with cluster(0, 2, 2) as nodes, begun(24, address=nodes.address, max_failures=3) as one:
        nodes.tell("kill-node 1")
        end = one.end()
        return f"with `max_failures` 3: {one.given_up()}, {one.missing()}; {end}"


def control_store() -> str:
    """SIGKILL of Ray's control store, which is back 5 s later."""
    with cluster(3) as nodes, begun(24, address=nodes.address, max_failures=3) as one:
        nodes.tell("kill-gcs")
        time.sleep(5)
        nodes.tell("start-gcs")
        end = one.end(180)
        return f"tables in memory, as is the default: {end}, {one.missing()}"


def partition() -> str:
    """The network between driver and node cut for 90 s; the node is started again afterwards."""
    with network() as cable:
        settings = {"address": cable.address, "parallel": 2, "max_failures": 3}
        with plain(**settings) as one:
            one.prefix = cable.within(0)
            one.start()
            one.await_reports(16)
            cable.cut()
            time.sleep(90)
            cable.mend()
            time.sleep(10)
            cable.start_node()
            end = one.end(240)
            return f"with `max_failures` 3: {one.given_up()}, {one.missing()}; {end}"


def memory() -> str:
    """A trial that takes more memory than Ray leaves it, with retries allowed."""
    total, free = (_memory_mib(name) for name in ("MemTotal", "MemAvailable"))
    ray = {"RAY_memory_usage_threshold": str((total - free + 3000) / total)}
    ray["RAY_memory_monitor_refresh_ms"] = "100"
    with plain(max_failures=3) as one:
        one.start(ray)
        one.await_reports(12)
        (one.folder / "swallow").touch()
        end = one.end(180)
        return f"with `max_failures` 3: {one.given_up()}, {one.missing()}; {end}"


def _memory_mib(name: str) -> float:
    lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def torn_checkpoint() -> str:
    """The newest checkpoint of a trial emptied, and its process killed; retries allowed."""
    with begun(30, max_failures=3) as one:
        last = one.lines()[-1]
        os.kill(last["pid"], signal.SIGSTOP)
        found = sorted(Path(one.settings["storage"]).rglob(f"*{last['trial']}*/checkpoint_*/step"))
        found[-1].write_bytes(b"")
        os.kill(last["pid"], signal.SIGKILL)
        end = one.end()
        good = f"{len(found) - 1} older good checkpoints on disk"
        return f"with `max_failures` 3: {one.given_up()}, {good}; {end}"


def torn_events() -> str:
    """The record of one trial cut in its last line, under a driver that was killed."""
    with begun(30) as one:
        one.kill()
        record = max(Path(one.settings["storage"]).rglob("result.json"), key=_size)
        record.write_bytes(record.read_bytes()[:-40])
        one.start(restore=True)
        end = one.end()
        return f"after `Tuner.restore` ({end}): {one.missing()}"


def _size(path: Path) -> int:
    return path.stat().st_size


def two_drivers() -> str:
    """The same search started while it runs."""
    with begun(12) as one:
        first = one.process
        one.start()
        statuses = [process.wait(300) for process in (first, one.process) if process]
        one.end()
        trials = len({name for name, _ in one.truth()})
        return (
            f"both run (exit status {statuses}): {trials} trials for {SETTINGS['trials']} planned, "
            f"{one.tried_twice()} configurations tried twice, {one.states().total()} trials in "
            "the newest record"
        )


def extend() -> str:
    """A search that is complete is to have three trials more."""
    with plain() as one:
        one.start()
        one.end()
        one.start(trials=SETTINGS["trials"] + 3)
        end = one.end()
        return (
            "`Tuner.restore` takes no number of trials; the same name with more begins anew "
            f"({end}): {one.tried_twice()} configurations tried twice"
        )


def clock() -> str:
    """Three drivers in two time zones, each killed."""
    with plain() as one:
        one.start({"TZ": "Asia/Tokyo"})
        one.await_reports(40)
        one.kill()
        for reports in (24, None):
            one.start({"TZ": "UTC"}, restore=True)
            if reports:
                one.await_reports(reports)
                one.kill()
        end = one.end()
        trials = len({name for name, _ in one.truth()})
        return (
            f"{trials} trials run for {SETTINGS['trials']} planned, {one.again()} reports made "
            f"twice; {end}"
        )


ROWS: dict[str, Callable[[], str]] = {
    "trial": trial,
    "host": lambda: "there are none: each trial has a process, see above",
    "driver": driver,
    "signals": signals,
    "node": node,
    "partition": partition,
    "gcs": control_store,
    "hang": hang,
    "oom": memory,
    "number": number,
    "torn-events": torn_events,
    "torn-checkpoint": torn_checkpoint,
    "torn-spec": torn_spec,
    "disk": disk,
    "mlflow-dead": mlflow_dead,
    "mlflow-flaky": mlflow_flaky,
    "mlflow-deleted": mlflow_deleted,
    "postgres": database,
    "clock": clock,
    "twice": twice,
    "two-drivers": two_drivers,
    "extend": extend,
    "chaos": lambda: "not done to it",
}


def main() -> None:
    """Measures, and adds to the file."""
    for row in sys.argv[1:] or list(ROWS):
        try:
            told = ROWS[row]()
        except (AssertionError, OSError, subprocess.SubprocessError, LookupError) as error:
            told = f"not run: {type(error).__name__}"
            print(error, file=sys.stderr)
        print(f"{row}: {told}", flush=True)
        kept = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
        kept.setdefault("rows", {})[row] = told
        kept.setdefault("dates", {})[row] = f"{datetime.now(UTC):%Y-%m-%d}"
        kept["title"] = (
            "Ray Tune with OptunaSearch and MLflowLoggerCallback, a function that saves a "
            f"checkpoint with every report, {SETTINGS['trials']} trials of {SETTINGS['steps']} "
            f"reports, {SETTINGS['parallel']} at once; each row once, by benchmarks/plain_faults.py"
        )
        RESULT.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    shutil.rmtree(FOLDER / "__pycache__", ignore_errors=True)


if __name__ == "__main__":
    main()
