"""``longhaul doctor``: whatever is broken for real is found, and says how to mend it."""

import json
import os
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from longhaul.cli.main import main
from longhaul.doctor import Level
from longhaul.doctor.client import check_client
from longhaul.doctor.cluster import Node, compared
from longhaul.doctor.data import check_data
from longhaul.doctor.machine import check_compiler, check_gpu
from longhaul.doctor.storage import Mount, about_mount, check_storage, mount_of
from longhaul.doctor.tracking import check_tracking
from longhaul_trainers.scans.native import library

RECORD = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


def levels(found) -> set[Level]:
    return {one.level for one in found}


def worst(found):
    """The findings that are not ok; each says what to do."""
    bad = [one for one in found if one.level is not Level.OK]
    assert all(one.fix and "\n" not in one.message for one in bad)
    return bad


def installed(folder: Path, name: str, version: str, *lines: str) -> None:
    """Metadata of a package in a folder, as pip leaves it."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    text = RECORD.format(name=name, version=version) + "".join(f"{line}\n" for line in lines)
    (info / "METADATA").write_text(text)


def test_a_machine_as_it_should_be(tmp_path):
    found = [*check_client(), *check_storage(str(tmp_path / "runs"))]
    assert not [one for one in worst(found) if one.level is Level.PROBLEM]
    assert not list(tmp_path.iterdir())


def test_packages_that_are_too_old_or_missing_are_problems(tmp_path, monkeypatch):
    lines = ["Requires-Python: >=3.99", "Requires-Dist: torch>=99", "Requires-Dist: nowhere>=1"]
    installed(tmp_path, "longhaul", "9.9", *lines)
    monkeypatch.syspath_prepend(tmp_path)
    messages = [one.message for one in worst(check_client()) if one.level is Level.PROBLEM]
    assert [one.split()[0] for one in messages] == ["Python", "torch", "nowhere"]
    assert "longhaul needs torch>=99" in messages[1]


def test_versions_that_were_not_tested_together_are_warned_of(tmp_path, monkeypatch):
    installed(tmp_path, "click", "8.1.99")
    monkeypatch.syspath_prepend(tmp_path)
    tested = tmp_path / "cpu.txt"
    tested.write_text("# pinned\nclick==8.1.3\ntorch==2.13.0\n")
    (one,) = worst(check_client(tested))
    assert one.level is Level.WARNING
    assert "click 8.1.99 (tested: 8.1.3)" in one.message
    assert "torch" not in one.message


def test_a_storage_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("in the way")
    (one,) = worst(check_storage(str(tmp_path / "file/runs")))
    assert one.level is Level.PROBLEM
    assert "--storage" in one.fix


def test_a_full_storage_in_memory(tmp_path):
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"this user cannot mount: {mounted.stderr.strip()}")
    try:
        found = worst(check_storage(str(tmp_path)))
        assert [one.level for one in found] == [Level.PROBLEM, Level.WARNING]
        assert "free" in found[0].message
        assert "tmpfs" in found[1].message
        (tmp_path / "ballast").write_bytes(bytes(2**20 - 4096 * 4))
        with (tmp_path / "ballast").open("ab") as file, pytest.raises(OSError, match="No space"):
            file.write(bytes(2**20))
        assert "no space left" in worst(check_storage(str(tmp_path)))[0].message
        assert [path.name for path in tmp_path.iterdir()] == ["ballast"]
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_storage_whose_clock_is_another_one(tmp_path, monkeypatch):
    written = os.fsync

    def elsewhere(descriptor: int) -> None:
        written(descriptor)
        os.utime(descriptor, (1e9, 1e9))  # as a file server with a clock of its own does

    monkeypatch.setattr(os, "fsync", elsewhere)
    found = worst(check_storage(str(tmp_path)))
    assert [one.part for one in found if one.part == "clock"] == ["clock"]


def test_a_shared_folder_needs_an_option(tmp_path):
    table = tmp_path / "mountinfo"
    table.write_text(
        "1 0 0:1 / / rw,relatime - ext4 /dev/sda rw\n"
        f"2 1 0:2 / {tmp_path} rw,relatime - nfs4 host:/export rw,vers=4.2,hard\n"
        f"3 1 0:3 / {tmp_path}/a\\040b rw - nfs4 host:/e rw,vers=4.2,lookupcache=pos\n"
    )
    (tmp_path / "a b").mkdir()
    assert mount_of(Path("/"), table).kind == "ext4"
    (one,) = worst(about_mount(mount_of(tmp_path, table), tmp_path))
    assert "lookupcache=positive" in one.fix
    assert not worst(about_mount(mount_of(tmp_path / "a b", table), tmp_path))
    assert not worst(about_mount(Mount("ext4", frozenset()), tmp_path))


@pytest.fixture
def server():
    """Something on HTTP that is no friendly MLflow; its answer may be set."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # what a server answers to probes whether or not it lets anybody in
            healthy = self.path in ("/health", "/version")
            self.send_response(200 if healthy else self.server.status)
            self.end_headers()
            self.wfile.write(b"OK" if healthy else self.server.text)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as made:
        made.status, made.text = 200, b"{}"
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "text", "fix"),
    [
        (401, b"You are not authenticated.", "MLFLOW_TRACKING_USERNAME"),
        (403, b"Invalid Host header - possible DNS rebinding attack detected", "--allowed-hosts"),
        (403, b"Permission denied", "administrator"),
        (500, b"the database is gone", "start the server"),
    ],
)
def test_a_server_that_is_healthy_and_refuses(server, status, text, fix):
    server.status, server.text = status, text
    (one,) = worst(check_tracking(f"http://ada:hunter2@127.0.0.1:{server.server_port}"))
    assert one.level is Level.PROBLEM
    assert fix in one.fix
    assert "hunter2" not in one.message


def test_a_server_that_answers_and_one_that_is_gone(server):
    (one,) = check_tracking(f"http://127.0.0.1:{server.server_port}")
    assert (one.level, "MLflow OK" in one.message) == (Level.OK, True)
    server.server_close()
    (gone,) = worst(check_tracking(f"http://127.0.0.1:{server.server_port}"))
    assert gone.level is Level.PROBLEM


def test_a_database_that_is_none(tmp_path):
    (tmp_path / "mlflow.db").write_text("not a database" * 100)
    (one,) = worst(check_tracking(f"sqlite:///{tmp_path}/mlflow.db"))
    assert one.level is Level.PROBLEM
    assert not worst(check_tracking(f"sqlite:///{tmp_path}/new.db"))
    assert not (tmp_path / "new.db").exists()
    assert worst(check_tracking("ftp://host"))[0].level is Level.PROBLEM


def test_without_a_compiler_and_with_one_that_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (one,) = worst(check_compiler())
    assert "no C++ compiler" in one.message
    (tmp_path / "bin").mkdir()
    broken = tmp_path / "bin/g++"
    broken.write_text(
        "#!/bin/sh\n[ \"$1\" = --version ] || { echo 'no such header' >&2; exit 1; }\n"
    )
    broken.chmod(0o755)
    (one,) = worst(check_compiler())
    assert "no such header" in one.message
    library._key.cache_clear()
    monkeypatch.setenv(library.VARIABLE, "0")
    (one,) = worst(check_compiler())
    assert library.VARIABLE in one.fix


def test_a_driver_that_this_torch_cannot_use(tmp_path):
    import torch

    if torch.version.cuda is not None:
        pytest.skip("this torch was built for CUDA")
    assert not worst(check_gpu(tmp_path / "none")) or shutil.which("nvidia-smi")
    (tmp_path / "version").touch()
    (one,) = worst(check_gpu(tmp_path / "version"))
    assert "CUDA build" in one.fix


def test_data_that_are_not_where_they_are_said_to_be(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path / "gone"))
    (one,) = worst(check_data())
    assert "LONGHAUL_DATA" in one.message
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone/mnist.npz").write_bytes(b"torn")
    assert not worst(check_data())  # its first use will refuse it; nothing is converted here


def test_nodes_that_differ_do_not_see_the_storage_or_have_another_clock():
    here = {"longhaul": "1", "python": "3.11.7", "ray": "2", "torch": "3", "numpy": "4.1"}
    assert not worst(compared([Node("well", here)], here, "/runs"))
    old = Node("a", here | {"python": "3.12.1", "torch": "2"})
    blind = Node("b", here, storage="No such file or directory: /runs/seen")
    late = Node("c", None, ahead_s=-30.0)
    near = Node("d", here | {"torch": "3+cu130", "numpy": "4.2"})
    found = worst(compared([old, blind, late, near], here, "/runs"))
    told = [(one.level, one.message) for one in found if one.part == "cluster"]
    assert told == [
        (Level.PROBLEM, "this machine and node a differ: python 3.11.7 and 3.12.1, torch 3 and 2"),
        (
            Level.PROBLEM,
            "node b cannot use the storage /runs: No such file or directory: /runs/seen",
        ),
        (Level.PROBLEM, "node c has no longhaul in Ray's Python"),
        (
            Level.WARNING,
            "this machine and node d differ a little: torch 3 and 3+cu130, numpy 4.1 and 4.2",
        ),
    ]
    assert [one.level for one in found if one.part == "clock"] == [Level.WARNING]
    asked, not_asked = (
        [one.message for one in compared([Node("well", here)], here, storage)]
        for storage in ("/runs", None)
    )
    assert set(asked) - set(not_asked) == {"1 nodes write to the storage"}


def test_the_command_tells_by_its_exit_status(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("LONGHAUL_STORAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    well = CliRunner().invoke(main, ["doctor", "--json"])
    assert well.exit_code == 0, well.output
    told = json.loads(well.stdout)
    assert told["ok"] is True
    assert {"client", "storage", "tracking", "compiler", "gpu", "clock", "data"} == {
        one["part"] for one in told["findings"]
    }
    assert not list(tmp_path.iterdir())
    (tmp_path / "longhaul-runs").write_text("in the way")
    ill = CliRunner().invoke(main, ["doctor"])
    assert ill.exit_code == 1
    assert "problem  storage" in ill.stdout
    assert "fix: " in ill.stdout
