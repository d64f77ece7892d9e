"""For the attacks: the table of what held, and a search that is watched while it runs."""

import ipaddress
import os
import pickle
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

DEFAULTS = {
    1: "servers listen on the loopback device",
    2: "Ray asks for a token that nobody else can read",
    3: "nothing of Ray is published beyond the cluster",
    4: "MLflow's server asks for a password",
    5: "names and paths stay in their folder",
    6: "hostile YAML is refused",
    7: "nothing is unpickled",
    8: "secrets are recorded nowhere",
    9: "artifacts go to the configured place only",
    10: "containers can do little",
}
"""The rows of the table in docs/security.md that can be attacked."""

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "canary-of-the-bucket",
    "CANARY_TOKEN": "canary-in-the-environment",
    "DATABASE_URL": "postgresql://ada:canary-of-the-database@db.example/runs",
    "INNOCENT_LOOKING": "canary-under-a-plain-name",
}
TALKATIVE = '''
import os
from dataclasses import dataclass
from typing import ClassVar

from longhaul_trainers.cells.lstm import LSTM, LSTMSettings


@dataclass(frozen=True, kw_only=True)
class TalkativeSettings(LSTMSettings):
    name: ClassVar[str] = "talkative"


class Talkative(LSTM):
    """Fails with a message as libraries write them: the address, and what was sent there."""

    settings_type = TalkativeSettings

    def forward(self, inputs, state=None):
        address, token = os.environ["DATABASE_URL"], os.environ["CANARY_TOKEN"]
        raise ConnectionError(f"no answer from {address}, sent Authorization: Bearer {token}")
'''
SPACE = """
task: {name: copying, delay: 5}
cell: {choice: [{name: lstm, hidden_size: 8}, {name: talkative, hidden_size: 8}]}
training: {steps: 20, batch_size: 4, evaluate_every: 10, validation_size: 20, test_size: 20}
search: {trials: 2, parallel: 1, retries: 0, enqueue: [{cell: lstm}, {cell: talkative}]}
"""


# The table.

Result = tuple[str, str]
_results: dict[tuple[int, str], dict[str, Result]] = defaultdict(dict)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Notes what became of a test under the row and the attack that its marker names."""
    report = yield
    marker = item.get_closest_marker("attack")
    if marker is not None:
        noted = _results[marker.args]
        if report.skipped:
            noted[item.nodeid] = ("skipped", str(report.longrepr[2]).removeprefix("Skipped: "))
        elif report.failed:
            noted[item.nodeid] = ("FAILED", "")
        elif report.when == "call":
            noted.setdefault(item.nodeid, ("passed", ""))
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Prints the table, where attacks were asked for."""
    if "attack" not in config.option.markexpr:
        return
    terminalreporter.section("attacks")
    rows = [("", "default", "attacked", "tests", "result")]
    for (row, attack), noted in sorted(_results.items()):
        rows.append((str(row), DEFAULTS[row], attack, str(len(noted)), _verdict(noted)))
    rows += [
        (str(row), default, "-", "0", "no attack was run")
        for row, default in DEFAULTS.items()
        if row not in {one for one, _ in _results}
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in sorted(rows, key=lambda one: int(one[0] or 0)):
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=False)]
        terminalreporter.write_line("  ".join([*cells, row[4]]))


def _verdict(noted: dict[str, Result]) -> str:
    outcomes = [outcome for outcome, _ in noted.values()]
    told = [f"{outcomes.count(one)} {one}" for one in ("FAILED", "passed") if one in outcomes]
    reasons = sorted({reason for outcome, reason in noted.values() if outcome == "skipped"})
    if reasons:
        told.append(f"{outcomes.count('skipped')} skipped ({'; '.join(reasons)})")
    return ", ".join(told)


# Processes.


@dataclass(frozen=True, order=True)
class Socket:
    """A listening TCP socket."""

    address: str
    port: int
    program: str

    @property
    def is_private(self) -> bool:
        """Whether only this machine can reach it."""
        address = ipaddress.ip_address(self.address)
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback


@dataclass
class Watch:
    """What can be seen of a process and all that came from it."""

    pid: int
    sockets: set[Socket] = field(default_factory=set)
    command_lines: set[str] = field(default_factory=set)
    token_files: dict[Path, tuple[int, int, str]] = field(default_factory=dict)
    """Mode of each file and of its folder, and the token."""

    def look(self) -> None:
        holders = {}
        for pid in self._tree():
            command_line = _read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
            self.command_lines.add(command_line)
            self._note_token(pid)
            for inode in _sockets(pid):
                holders[inode] = command_line
        for family in ("tcp", "tcp6"):
            for line in _read("/proc/net/" + family).splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and fields[9] in holders:
                    address, _, port = fields[1].partition(":")
                    found = Socket(_address(address), int(port, 16), holders[fields[9]])
                    self.sockets.add(found)

    def _tree(self) -> list[int]:
        children = defaultdict(list)
        for name in filter(str.isdecimal, os.listdir("/proc")):
            status = _read(f"/proc/{name}/stat")
            if status:
                children[int(status[status.rindex(")") + 2 :].split()[1])].append(int(name))
        found = [self.pid]
        for pid in found:
            found += children[pid]
        return found

    def _note_token(self, pid: int) -> None:
        for entry in _read(f"/proc/{pid}/environ").split("\0"):
            name, _, value = entry.partition("=")
            if name == "RAY_AUTH_TOKEN_PATH" and Path(value) not in self.token_files:
                file = Path(value)
                if token := _read(value):
                    modes = file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777
                    self.token_files[file] = (*modes, token)


def _read(path: str) -> str:
    try:
        return Path(path).read_bytes().decode(errors="replace")
    except OSError:  # it has ended meanwhile
        return ""


def _sockets(pid: int) -> list[str]:
    found = []
    try:
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return []
    for one in descriptors:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{one}")
        except OSError:
            continue
        if target.startswith("socket:["):
            found.append(target[8:-1])
    return found


def _address(text: str) -> str:
    """An address as /proc/net writes it: words of four bytes in the order of the machine."""
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


@pytest.fixture
def watch() -> type[Watch]:
    return Watch


# A search with secrets around it.


@dataclass
class WatchedSearch:
    """A search that has ended, and everything that was seen and left."""

    folder: Path
    ray: Path
    status: int
    terminal: str
    watch: Watch

    @property
    def storage(self) -> Path:
        return self.folder / "runs"

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    def texts(self) -> dict[str, bytes]:
        """All that it wrote, by name; columns of tables as text, for they are compressed."""
        import pyarrow.parquet as pq

        texts = {"the terminal": self.terminal.encode()}
        for root in (self.folder, self.ray):
            for path in root.rglob("*"):
                if path.is_file() and not path.is_symlink() and "plugins" not in path.parts:
                    if path.suffix == ".parquet":
                        texts[str(path)] = str(pq.read_table(path).to_pylist()).encode()
                    else:
                        texts[str(path)] = path.read_bytes()
        return texts


@pytest.fixture(scope="session")
def run_watched(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., WatchedSearch]]:
    """Runs a search of two trials, of which one fails, among secrets, and watches it."""
    running: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="lh-") as ray:  # its sockets need a short name

        def run(*options: str, **environment: str) -> WatchedSearch:
            folder = tmp_path_factory.mktemp("watched")
            here = Path(ray, str(len(running)))
            here.mkdir()
            watched = _start(folder, here, options, environment)
            running.append(watched)
            eyes = Watch(watched.pid)
            while watched.poll() is None:
                eyes.look()
                time.sleep(0.5)
            terminal = (folder / "terminal").read_text(encoding="utf-8")
            return WatchedSearch(folder, here, watched.returncode, terminal, eyes)

        yield run
        for one in running:
            if one.poll() is None:
                one.kill()
                one.wait()


def _start(
    folder: Path, ray: Path, options: tuple[str, ...], environment: dict[str, str]
) -> "subprocess.Popen[bytes]":
    plugins = folder / "plugins"
    metadata = plugins / "talkative-1.0.dist-info"
    metadata.mkdir(parents=True)
    texts = {
        metadata / "METADATA": "Metadata-Version: 2.1\nName: talkative\nVersion: 1.0\n",
        metadata / "entry_points.txt": "[longhaul.cells]\ntalkative = talkative:Talkative\n",
        plugins / "talkative.py": textwrap.dedent(TALKATIVE),
        folder / "space.yaml": SPACE,
    }
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    (folder / "home").mkdir()
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("LONGHAUL_", "MLFLOW_"))}
    path = [str(plugins), *filter(None, [os.environ.get("PYTHONPATH")])]
    ours |= {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}
    # In a new home there is nothing compiled yet.
    ours |= {"LONGHAUL_COMPILED_SCANS": "0"}
    ours |= {"HOME": str(folder / "home"), "RAY_TMPDIR": str(ray), **SECRETS, **environment}
    words = [sys.executable, "-P", "-m", "longhaul", "search", "space.yaml"]
    with (folder / "terminal").open("wb") as terminal:
        return subprocess.Popen(
            [*words, "--storage", str(folder / "runs"), *options],
            cwd=folder,
            env=ours,
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )


@pytest.fixture(scope="session")
def watched(run_watched: Callable[..., WatchedSearch]) -> WatchedSearch:
    """A search with the defaults of one machine."""
    search = run_watched()
    assert search.status == 0, search.terminal
    return search


# A pickle that tells when it is loaded.


class _Touch:
    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.flag,)


@dataclass(frozen=True)
class Pickle:
    """A pickle that makes a file when it is loaded."""

    flag: Path

    @property
    def data(self) -> bytes:
        return pickle.dumps({"weights": _Touch(self.flag)})

    @property
    def went_off(self) -> bool:
        return self.flag.exists()


@pytest.fixture
def trap(tmp_path: Path) -> Pickle:
    """A pickle that is known to work."""
    found = Pickle(tmp_path / "executed")
    pickle.loads(found.data)
    assert found.went_off, "the trap does not work"
    found.flag.unlink()
    return found
