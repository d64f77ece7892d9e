"""Ray clusters of several nodes on this machine, whose nodes and network can be broken."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

PROGRAM = Path(__file__).parents[1] / "faults" / "raylets.py"
PATIENCE_S = 600.0
HEAD, NODE = "198.18.77.1", "198.18.77.2"
PORT = 6399


class Raylets:
    """`raylets.py` as a process.

    Args:
        folder: for what it writes.
        cpus: of the head, and of each further node.
        environment: its variables.
    """

    def __init__(self, folder: Path, cpus: tuple[int, ...], environment: Mapping[str, str]) -> None:
        self._output = folder / "raylets.out"
        words = [sys.executable, "-P", str(PROGRAM), *map(str, cpus)]
        with self._output.open("wb") as out, (folder / "raylets.err").open("wb") as errors:
            self._process = subprocess.Popen(
                words,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self._heard = 0
        self.address = self._hear()

    def tell(self, command: str) -> None:
        """Has it break something, and waits until it is broken."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        self._hear()

    def _hear(self) -> str:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            lines = self._output.read_text().split("\n")[:-1]
            if len(lines) > self._heard:
                self._heard += 1
                return lines[self._heard - 1]
            assert self._process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def close(self) -> None:
        """Ends all its nodes."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def can_cut() -> bool:
    """Whether `Network` works here."""
    return os.geteuid() == 0 and all(map(shutil.which, ("ip", "nsenter", "tc")))


class Network:
    """Two network namespaces with a cable between them, and a node of Ray in each.

    Args:
        folder: where the nodes work.
        environment: their variables.
    """

    address = f"{HEAD}:{PORT}"

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._spaces = [f"lh{os.getpid()}{end}" for end in "ab"]
        self._ends = [f"v{os.getpid()}{end}" for end in "ab"]
        try:
            self._connect()
            self._ray(0, "--head", f"--port={PORT}", "--num-cpus=0", "--include-dashboard=false")
            self.start_node()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        for space in self._spaces:
            _run("ip", "netns", "add", space)
            _run("ip", "-n", space, "link", "set", "lo", "up")
        _run("ip", "link", "add", self._ends[0], "type", "veth", "peer", "name", self._ends[1])
        for space, end, address in zip(self._spaces, self._ends, (HEAD, NODE), strict=True):
            _run("ip", "link", "set", end, "netns", space)
            _run("ip", "-n", space, "addr", "add", f"{address}/30", "dev", end)
            _run("ip", "-n", space, "link", "set", end, "up")

    def within(self, end: int) -> tuple[str, ...]:
        """Words before a command that is to run beside the head (0) or the node (1)."""
        return ("nsenter", f"--net=/run/netns/{self._spaces[end]}")

    def start_node(self) -> None:
        """The node without the head, also after it has ended itself."""
        self._ray(1, f"--address={self.address}", "--num-cpus=2")

    def cut(self) -> None:
        """Nothing gets through any more."""
        _run("ip", "-n", self._spaces[0], "link", "set", self._ends[0], "down")

    def mend(self) -> None:
        """Undoes `cut`."""
        _run("ip", "-n", self._spaces[0], "link", "set", self._ends[0], "up")

    def deafen(self, end: int) -> None:
        """What the other end sends is lost, what this one sends is not."""
        sender = 1 - end
        words = ("qdisc", "replace", "dev", self._ends[sender], "root", "pfifo", "limit", "0")
        _run("tc", "-n", self._spaces[sender], *words)

    def hear(self, end: int) -> None:
        """Undoes `deafen`."""
        sender = 1 - end
        _run("tc", "-n", self._spaces[sender], "qdisc", "del", "dev", self._ends[sender], "root")

    def _ray(self, end: int, *words: str) -> None:
        own = ("--disable-usage-stats", f"--node-ip-address={(HEAD, NODE)[end]}")
        subprocess.run(
            [*self.within(end), str(Path(sys.executable).with_name("ray")), "start", *words, *own],
            cwd=self._folder,
            env=self._environment,
            check=True,
            capture_output=True,
        )

    def close(self) -> None:
        """Ends all that runs in the two namespaces, and them."""
        for space in self._spaces:
            found = subprocess.run(
                ["ip", "netns", "pids", space], capture_output=True, text=True, check=False
            )
            for pid in found.stdout.split():
                os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
