"""Records the names of the metrics that a Ray node reports, from a real one.

    python infra/monitoring/ray_metrics.py > infra/monitoring/ray-metrics.txt

Starts a head as every deployment does, lets it do some work and tell how a search is, and asks the
ports that it tells Prometheus of. Needs `ray[default]`.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

START = Path(__file__).parents[1] / "ray/start.sh"
WORK = """
import ray
ray.init(address=ADDRESS, logging_level="ERROR", log_to_driver=False)
class Actor:
    def work(self):
        return bytes(1_000_000)
from longhaul.search.metrics import SearchMetrics, Snapshot
now = Snapshot({"running": 1}, 1, 1, 1, 1.0, 1.0, 1.0, 1, {"trials": 0.5})
SearchMetrics("probe").show(now)
actor = ray.remote(num_cpus=1)(Actor).remote()
ray.get([actor.work.remote(), ray.remote(lambda: 1).remote()])
"""
REPORT_S = 25
"""Seconds after which every part of Ray has reported at least once."""


def free_port() -> int:
    """A port below those that Ray gives to its workers."""
    for port in range(9000, 9900):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise RuntimeError("no port between 9000 and 9900 is free")


def asked(targets: list[str]) -> set[str]:
    """The names behind the given addresses."""
    names = set()
    for target in targets:
        with urllib.request.urlopen(f"http://{target}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        names |= {line.split()[2] for line in lines if line.startswith("# TYPE ")}
    return names


def ray_metrics() -> set[str]:
    """Starts a head, works on it, and asks it; ends it."""
    port, metrics = free_port(), 9900 + os.getpid() % 90
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        token = Path(folder, "token")
        token.touch(0o600)
        token.write_text(secrets.token_hex(32), encoding="utf-8")
        environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            # The head listens on loopback alone; so who joins it has to ask there.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_TMPDIR": folder,
            "RAY_PORT": str(port),
            "RAY_METRICS_PORT": str(metrics),
            "RAY_CPUS": "2",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        head = subprocess.Popen([START, "head"], env=environment, stdout=subprocess.DEVNULL)
        try:
            for _ in range(60):
                health = [START, "health"]
                if subprocess.run(health, env=environment, capture_output=True).returncode == 0:
                    break
                if head.poll() is not None:
                    raise RuntimeError(f"the head ended with status {head.returncode}")
            work = WORK.replace("ADDRESS", repr(f"127.0.0.1:{port}"))
            subprocess.run(
                [sys.executable, "-c", f"{work}\nimport time; time.sleep({REPORT_S})"],
                env=environment,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            found = Path(folder, "ray/prom_metrics_service_discovery.json")
            if not found.exists():
                found = Path(folder, "prom_metrics_service_discovery.json")
            targets = json.loads(found.read_text(encoding="utf-8"))[0]["targets"]
            return asked(targets)
        finally:
            head.terminate()
            head.wait(60)
            time.sleep(2)


if __name__ == "__main__":
    names = ray_metrics()
    # imported here: its version is all that is wanted
    import ray

    what = f"what Ray {ray.__version__}, on a node without a GPU, and a search report"
    print(f"# Names of {what}, one a line.")
    print("# Renewed by: python infra/monitoring/ray_metrics.py > infra/monitoring/ray-metrics.txt")
    print("\n".join(sorted(names)))
