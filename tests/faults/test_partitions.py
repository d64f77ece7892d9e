"""A network that is cut between the driver and the node on which its trials train."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("nsenter") is None,
        reason="network namespaces need root, ip and nsenter",
    ),
]

CELL = {"name": "slow_lstm", "hidden_size": 8, "wait_s": 0.1}
CELL["forget_bias"] = {"uniform": [0, 3]}
HEAD, NODE = "198.18.77.1", "198.18.77.2"
PORT = 6399


class Network:
    """Two network namespaces with a cable between them, and a node of Ray in each."""

    def __init__(self, project):
        self._project = project
        project.token = secrets.token_hex(32)
        self._spaces = [f"lh{os.getpid()}{end}" for end in "ab"]
        for space in self._spaces:
            ip("netns", "add", space)
            ip("-n", space, "link", "set", "lo", "up")
        ends = [f"v{os.getpid()}{end}" for end in "ab"]
        ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for space, end, address in zip(self._spaces, ends, (HEAD, NODE), strict=True):
            ip("link", "set", end, "netns", space)
            ip("-n", space, "addr", "add", f"{address}/30", "dev", end)
            ip("-n", space, "link", "set", end, "up")
        self._cable = ("-n", self._spaces[0], "link", "set", ends[0])
        project.prefix = self.within(0)
        self._ray(0, "--head", f"--port={PORT}", "--num-cpus=0", "--include-dashboard=false")
        self.start_node()

    def within(self, end):
        return ("nsenter", f"--net=/run/netns/{self._spaces[end]}")

    def start_node(self):
        self._ray(1, f"--address={HEAD}:{PORT}", "--num-cpus=2")

    def cut(self):
        ip(*self._cable, "down")

    def mend(self):
        ip(*self._cable, "up")

    def _ray(self, end, *words):
        own = ("--disable-usage-stats", f"--node-ip-address={(HEAD, NODE)[end]}")
        subprocess.run(
            [*self.within(end), str(Path(sys.executable).with_name("ray")), "start", *words, *own],
            cwd=self._project.folder,
            env=self._project.environment(),
            check=True,
            capture_output=True,
        )

    def close(self):
        for space in self._spaces:
            found = subprocess.run(
                ["ip", "netns", "pids", space], capture_output=True, text=True, check=False
            )
            for pid in found.stdout.split():
                os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", space], check=False)


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def network(new_project):
    project = new_project()
    network = Network.__new__(Network)
    network._spaces = []
    try:
        network.__init__(project)
        yield project, network
    finally:
        network.close()


def begin(project, name):
    space = project.space(name, cell=CELL, search={"trials": 4})
    driver = project.start("search", space, "--json", "--address", f"{HEAD}:{PORT}")
    project.await_witness(driver, lambda one: one.get("kind") == "reported")
    return driver


@pytest.mark.fault("partition", "the network between driver and node cut for 20 s")
def test_a_short_cut_is_ridden_out(network, invariants):
    project, cable = network
    driver = begin(project, "short")
    cable.cut()
    time.sleep(20)
    cable.mend()
    assert driver.wait() == 0, driver.stderr
    invariants.hold(project, "short", 4, driver)
    attempts = [one.attempts for one in project.ledger("short").record().trials.values()]
    assert attempts == [1] * 4
    invariants.delivered(project, "short")


@pytest.mark.fault("partition", "the same cut for 90 s; the node is started again afterwards")
def test_after_a_long_cut_trials_go_on_once_there_is_a_node_again(network, invariants):
    project, cable = network
    driver = begin(project, "long")
    cable.cut()
    time.sleep(90)
    cable.mend()
    time.sleep(10)
    cable.start_node()
    assert driver.wait() == 0, driver.stderr
    invariants.hold(project, "long", 4, driver)
    assert max(one.attempts for one in project.ledger("long").record().trials.values()) > 1
    invariants.delivered(project, "long")
