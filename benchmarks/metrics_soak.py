"""Has Prometheus watch a search on a cluster: trials diverge, one and MLflow's server are killed.

    .venv/bin/python benchmarks/metrics_soak.py [--seconds 360] [--results FOLDER]

Writes metrics_soak.md and metrics_soak.png to benchmarks/results/. Everything is real:
infra/local-cluster.sh, a submitted search, Prometheus with the project's rules and scrape settings.
Needs PostgreSQL and Prometheus.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import machine_table
from panels import Panel, draw, panels, shown
from prometheus_server import Prometheus, Series, free_port, prometheus

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
SCRIPT = ROOT / "infra/local-cluster.sh"
SERVERS = ("AUTOSCALER_METRIC_PORT", "DASHBOARD_METRIC_PORT")
"""Variables with ports of the head that Ray tells together with those of its nodes."""
TRIAL = b"ray::CellTrial", b"ray::ResourceTrainable"
"""How Ray calls the process of a trial between two calls, and in one."""
NODES = 3
NAME = "soak"
SPACE = "copying-quickstart"
SETTINGS = {
    "task.delay": "20",
    # Rectifiers that add up too much overflow: such trials diverge.
    "cell": "{name: rnn, hidden_size: 16, nonlinearity: {choice: [tanh, relu]}, "
    "recurrent_gain: {uniform: [0.9, 3]}}",
    "training.steps": "20000",
    "training.batch_size": "4",
    "training.evaluate_every": "2000",
    "training.validation_size": "20",
    "training.test_size": "20",
    "search.trials": "100000",
    "search.scheduler": "{name: asha, grace_steps: 2000}",
    "search.retries": "0",  # so that a trial whose process is killed has failed
}
STOPPED_AT, TRIAL_KILLED_AT, BACK_AT, FEWER_AT = 0.25, 0.35, 0.5, 0.8
"""When MLflow's server stops, a trial's process is killed, the server is started again, and one
trial less may run at once: as shares of the search's time."""
AFTERWARDS_S = 120.0
"""How long Prometheus goes on after the search has ended."""


@dataclass(frozen=True)
class Moment:
    """Something that happened.

    Attributes:
        at_s: seconds after Prometheus began.
        what: one sentence.
    """

    at_s: float
    what: str


@dataclass(frozen=True)
class Cluster:
    """One that infra/local-cluster.sh has started.

    Attributes:
        folder: its own.
        servers: ports of `SERVERS`, which another head of this machine does not use.
    """

    folder: Path
    servers: dict[str, str]

    def script(self, task: str) -> None:
        """Calls the script, with this environment."""
        words = [str(SCRIPT), task, str(self.folder)]
        own = {"LONGHAUL_VENV": os.environ.get("LONGHAUL_VENV", sys.prefix)} | self.servers
        done = subprocess.run(words, env=os.environ | own, capture_output=True, encoding="utf-8")
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)

    def longhaul(self, *words: str) -> str:
        """What a command prints that knows the cluster and its storage."""
        ours = {name: value for name, value in os.environ.items() if "RAY" not in name}
        ours |= {
            "LONGHAUL_CLUSTER": f"http://127.0.0.1:{self.port('dashboard')}",
            "RAY_AUTH_TOKEN_PATH": str(self.folder / "secrets/ray_token"),
        }
        command = [sys.executable, "-P", "-m", "longhaul", *words]
        done = subprocess.run(command, env=ours, cwd=self.folder, capture_output=True)
        if done.returncode:
            raise RuntimeError((done.stdout + done.stderr).decode())
        return done.stdout.decode()

    def wait_for(self, kind: str) -> None:
        """Until the search has an event of a kind."""
        from longhaul.ledger import Ledger

        ledger = Ledger.open(self.folder / "runs", NAME)
        while all(one.kind != kind for one in ledger.events()):
            time.sleep(2)

    def port(self, part: str) -> str:
        """Where a part of it listens."""
        return (self.folder / "ports" / part).read_text(encoding="utf-8")

    def stop(self, part: str) -> None:
        """Ends a part with all of its session, at once, as a machine that is switched off."""
        first = (self.folder / "pids" / part).read_text(encoding="utf-8").split()[0]
        listed = subprocess.run(["ps", "-o", "pid=", "-s", first], stdout=-1, check=False).stdout
        for pid in listed.split():
            os.kill(int(pid), signal.SIGKILL)

    def kill_trial(self) -> None:
        """SIGKILLs the process of a trial of this cluster's, as soon as there is one."""
        while True:
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    title = (process / "cmdline").read_bytes()
                    known = str(self.folder).encode() in (process / "environ").read_bytes()
                except OSError:  # it has ended
                    continue
                if known and title.startswith(TRIAL):
                    os.kill(int(process.name), signal.SIGKILL)
                    return
            time.sleep(0.1)

    def targets(self) -> dict[str, list[str]]:
        """Whom Prometheus should ask, by job; of each node the one port that it exports on."""
        file = self.folder / "ray/prom_metrics_service_discovery.json"
        nodes: list[str] = []
        while len(nodes) < NODES:  # Ray renews the file now and then
            told = json.loads(file.read_text(encoding="utf-8"))
            every = [one for group in told for one in group["targets"]]
            nodes = [one for one in every if not one.endswith(tuple(self.servers.values()))]
            time.sleep(1)
        head = [f"127.0.0.1:{self.servers[name]}" for name in SERVERS]
        return {"ray": nodes, "ray-head": head}


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Head, two workers, PostgreSQL, an S3 store and MLflow's server; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="lhs-", dir="/tmp"))  # sockets want short names
    found = Cluster(folder, {name: str(free_port()) for name in SERVERS})
    try:
        found.script("up")
        yield found
    finally:
        found.script("down")
        shutil.rmtree(folder)


def soak(
    on: Cluster, watched: Prometheus, seconds: int
) -> tuple[list[Moment], list[dict[str, Any]]]:
    """Runs the search and what happens to it; the moments, and Prometheus' rules at its end."""
    happened: list[Moment] = []

    def note(what: str) -> None:
        happened.append(Moment(time.time() - watched.began, what))
        print(f"{happened[-1].at_s:6.0f} s: {what}", file=sys.stderr, flush=True)

    changes = [word for path, value in SETTINGS.items() for word in ("--set", f"{path}={value}")]
    limit = ("--set", f"search.seconds={seconds}")
    on.longhaul("submit", SPACE, "--name", NAME, *changes, *limit, "--json")
    note("the search was submitted")
    on.wait_for("started")
    note("its first trial has begun")
    began = time.monotonic()

    def wait_until(share: float) -> None:
        time.sleep(max(0.0, began + share * seconds - time.monotonic()))

    wait_until(STOPPED_AT)
    on.stop("mlflow")
    note("MLflow's server was killed")
    wait_until(TRIAL_KILLED_AT)
    on.kill_trial()
    note("the process of a trial was killed")
    wait_until(BACK_AT)
    on.script("up")
    note("MLflow's server was started again")
    wait_until(FEWER_AT)
    on.longhaul("set", NAME, "search.parallel=1", "--storage", str(on.folder / "runs"))
    note("`longhaul set` let one trial less run at once")
    wait_until(1.0)
    rules = watched.rules()
    on.wait_for("closed")
    note("the search was over")
    time.sleep(AFTERWARDS_S)
    return happened, rules


def page(
    happened: list[Moment],
    rules: list[dict[str, Any]],
    alerts: list[Series],
    found: list[Panel],
    own: dict[str, list[Series]],
    watched: Prometheus,
    load: float,
) -> str:
    """The result page."""
    lines = [
        "# A search under Prometheus",
        "`benchmarks/metrics_soak.py`: a head and two workers of one CPU each, PostgreSQL, an S3 "
        "store and MLflow's server (`infra/local-cluster.sh`); a submitted search of tiny trials; "
        "Prometheus with the scrape settings and rules of "
        f"[infra/monitoring](../../infra/monitoring), every {watched.every_s} s. "
        f"One-minute load before the start: {load:.2f}.",
        "## What happened",
        _table(["second", "what"], [[f"{one.at_s:.0f}", one.what] for one in happened]),
        "## What a search tells",
        "Every metric of Longhaul, each line of labels apart from those that scraping adds.",
        _table(
            ["series", "samples", "first", "last", "lowest", "highest", "distinct values"],
            [
                [f"`{name}{_labels(one)}`", *_figures(one, "short")]
                for name, series in own.items()
                for one in series or [Series({}, [], [])]
            ],
        ),
        "## What the dashboard shows",
        "Each line of each panel of "
        "[dashboard.json](../../infra/monitoring/grafana/dashboard.json), from Prometheus' answers "
        "to its very queries. The picture is drawn by matplotlib, not by Grafana.",
        "![all panels](metrics_soak.png)",
        _table(
            ["panel", "line", "samples", "first", "last", "lowest", "highest", "distinct values"],
            [row for panel in found for row in _rows(panel)],
        ),
        "## Rules",
        f"{len(rules)} rules were evaluated, "
        f"{sum(one['health'] == 'ok' for one in rules)} of them without an error: "
        f"{', '.join(one['name'] for one in rules)}. What was raised:",
        _table(
            ["alert", "state", "labels", "from second", "to second"],
            [_alert(one, watched.began) for one in alerts],
        ),
        machine_table(["ray", "mlflow", "torch"]),
    ]
    return "\n\n".join(lines) + "\n"


def _alert(one: Series, began: float) -> list[str]:
    labels = {k: v for k, v in one.labels.items() if k in ("search", "budget", "ip", "instance")}
    shown_labels = ", ".join(f"{key} {value}" for key, value in labels.items())
    times = [f"{when - began:.0f}" for when in (one.times[0], one.times[-1])]
    return [one.labels["alertname"], one.labels["alertstate"], shown_labels, *times]


def _labels(one: Series) -> str:
    kept = {k: v for k, v in one.labels.items() if k in ("search", "state", "budget")}
    return f"{{{', '.join(f'{key}={value}' for key, value in kept.items())}}}" if kept else ""


def _figures(one: Series, unit: str) -> list[str]:
    if not one.values:
        return ["0", "", "", "", "", "0"]
    ends = (one.values[0], one.values[-1], min(one.values), max(one.values))
    figures = [shown(value, unit) for value in ends]
    return [str(len(one.values)), *figures, str(len(set(one.values)))]


def _rows(panel: Panel) -> list[list[str]]:
    if not panel.lines():
        return [[panel.title, "no data", "0", "", "", "", "", "0"]]
    return [[panel.title, name, *_figures(one, panel.unit)] for name, one in panel.lines()]


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def main() -> None:
    """Runs it, and writes the page and the picture."""
    from longhaul.search.metrics import EXPORTED

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=360, help="of the search")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with (
        cluster() as on,
        tempfile.TemporaryDirectory(prefix="soak-") as name,
        prometheus(Path(name), on.targets()) as watched,
    ):
        happened, rules = soak(on, watched, options.seconds)
        found = panels(watched.over_time)
        own = {one: watched.over_time(one) for one in sorted(EXPORTED)}
        alerts = watched.over_time("ALERTS")
    options.results.mkdir(parents=True, exist_ok=True)
    draw(found, watched.began, options.results / "metrics_soak.png")
    text = page(happened, rules, alerts, found, own, watched, load)
    (options.results / "metrics_soak.md").write_text(text, encoding="utf-8")
    print(text, end="")
    still = [one for one, series in own.items() if len({v for s in series for v in s.values}) < 2]
    if still or not alerts or any(one["health"] != "ok" for one in rules):
        sys.exit(f"error: these did not move: {still}; alerts: {len(alerts)}")


if __name__ == "__main__":
    main()
