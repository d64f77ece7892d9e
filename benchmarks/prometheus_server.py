"""A Prometheus of one's own with the rules and scrape settings of infra/monitoring.

Used by metrics_soak.py.
"""

import json
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MONITORING = Path(__file__).parents[1] / "infra/monitoring"
READY_S = 60.0


@dataclass(frozen=True)
class Series:
    """What Prometheus answers for one combination of labels.

    Attributes:
        labels: names and values, ``__name__`` among them where the query leaves it.
        times: Unix times, ascending.
        values: as many.
    """

    labels: dict[str, str]
    times: list[float]
    values: list[float]


@dataclass(frozen=True)
class Prometheus:
    """One that runs.

    Attributes:
        address: where it listens.
        every_s: seconds between two scrapes.
        began: when it was started.
    """

    address: str
    every_s: int
    began: float = field(default_factory=time.time)

    def ask(self, path: str, **words: str | float) -> Any:
        """The data of an answer of its API."""
        url = f"{self.address}/api/v1/{path}?{urllib.parse.urlencode(words)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]

    def over_time(self, query: str) -> list[Series]:
        """What a query gave, from the start until now."""
        told = self.ask(
            "query_range", query=query, start=self.began, end=time.time(), step=self.every_s
        )
        return [
            Series(
                one["metric"],
                [float(when) for when, _ in one["values"]],
                [float(value) for _, value in one["values"]],
            )
            for one in told["result"]
        ]

    def rules(self) -> list[dict[str, Any]]:
        """All rules with their health."""
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]


def free_port() -> int:
    """A port of the loopback device that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def configuration(targets: dict[str, list[str]]) -> dict[str, Any]:
    """The project's own, but for the places of those that are asked.

    Args:
        targets: addresses by name of the job.
    """
    import yaml

    told = yaml.safe_load((MONITORING / "prometheus.yml").read_text(encoding="utf-8"))
    told["rule_files"] = [str(MONITORING / one) for one in told["rule_files"]]
    for job in told["scrape_configs"]:
        job.pop("dns_sd_configs", None)
        job["static_configs"] = [{"targets": targets[job["job_name"]]}]
    return dict(told)


@contextmanager
def prometheus(folder: Path, targets: dict[str, list[str]]) -> Iterator[Prometheus]:
    """Runs one on loopback that keeps its data in a folder.

    Args:
        folder: for configuration, data and log; it must exist.
        targets: addresses by name of the job; its own is added.
    """
    import yaml

    here = f"127.0.0.1:{free_port()}"
    told = configuration(targets | {"prometheus": [here]})
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(told), encoding="utf-8")
    words = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [*words, f"--web.listen-address={here}"], stdout=log, stderr=log, cwd=folder
        )
    try:
        _await_ready(f"http://{here}", process, folder / "prometheus.log")
        every = told["global"]["scrape_interval"]
        yield Prometheus(f"http://{here}", int(every.removesuffix("s")))
    finally:
        process.terminate()
        process.wait(60)


def _await_ready(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        try:
            urllib.request.urlopen(f"{address}/-/ready", timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text(encoding="utf-8")[-2000:]) from None
            time.sleep(0.2)
