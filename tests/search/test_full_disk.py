"""A storage that fills up in the middle of a search."""

import os
import subprocess
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1200)]

TRIALS = 6


CELL = {"name": "slow_lstm", "hidden_size": 8, "wait_s": 0.02}
CELL["forget_bias"] = {"uniform": [0, 3]}


@contextmanager
def small_disk(folder, megabytes=4):
    """A file system of its own."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"this user cannot mount: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def disk(new_project):
    """A project with little space for its storage."""
    project = new_project()
    with small_disk(project.storage):
        yield project
        project.close()


@pytest.fixture
def tracked_on_disk(new_project):
    """A project with little space for what MLflow keeps."""
    project = new_project()
    with small_disk(project.folder / "small"):
        project.tracking_uri = project.new_tracking_uri("small/mlflow")
        yield project
        project.close()


def fill(folder, spare):
    """Takes all space but so many bytes."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    os.truncate(ballast, ballast.stat().st_size - spare)
    return ballast


# With nothing left no event can be written either; with a little, events can and checkpoints not.
@pytest.mark.parametrize("spare", [0, 40960])
@pytest.mark.fault("disk", "the storage of a whole search fills up, to the last byte or nearly")
def test_a_full_disk_ends_the_search_and_loses_nothing(
    disk, spare, expected_history, recorded_history
):
    driver = disk.start("search", disk.space("full", cell=CELL, search={"trials": TRIALS}))
    disk.await_witness(driver, lambda one: "row" in one)
    with disk.held():
        ballast = fill(disk.storage, spare)
    assert driver.wait() == 1, driver.stderr
    # By whichever process met it first: the driver, or one that trains.
    said = [line for line in (driver.stderr + driver.stdout).splitlines() if "no space" in line]
    assert sum(line.startswith(("error:", "search full: failed")) for line in said) == 1, said
    assert "Traceback" not in driver.stderr
    ballast.unlink()
    disk.check_nothing_is_lost("full")
    assert "failed" not in Counter(one.state for one in record(disk).trials.values())

    driver = disk.run("resume", "full", "--json")
    assert driver.popen.returncode == 0, driver.stderr
    disk.check_nothing_is_lost("full")
    ledger = disk.ledger("full")
    assert record(disk).state == "completed"
    assert sorted(record(disk).trials) == list(range(TRIALS))
    for number, trial in record(disk).trials.items():
        assert trial.state in ("completed", "stopped")
        steps = [step for step, _ in trial.reports]
        assert recorded_history(ledger, number) == expected_history(trial.config, steps)


@pytest.mark.fault("disk", "the disk of MLflow's database and artifacts fills up")
def test_a_full_disk_of_mlflow_holds_nothing_up_and_gets_everything_later(
    tracked_on_disk, expected_history, recorded_history, content_of, equals_ledger
):
    project = tracked_on_disk
    uri = project.tracking_uri
    space = project.space("tracked", cell=CELL, search={"trials": TRIALS})
    driver = project.start("search", space, "--json", "--tracking-uri", uri)
    project.await_witness(driver, lambda one: "row" in one)
    ballast = fill(project.folder / "small", 0)
    assert driver.wait() == 0, driver.stderr
    assert driver.json()["state"] == "completed"
    assert driver.stderr.count("longhaul sync tracked") == 1
    project.check_nothing_is_lost("tracked")
    ledger = project.ledger("tracked")
    for number, trial in ledger.record().trials.items():
        steps = [step for step, _ in trial.reports]
        assert recorded_history(ledger, number) == expected_history(trial.config, steps)
    ballast.unlink()
    delivered = project.run("sync", "tracked", "--tracking-uri", uri)
    assert delivered.popen.returncode == 0, delivered.stderr
    equals_ledger(content_of(uri), ledger)


@pytest.fixture
def temporary(new_project):
    """A project, and a disk of its own for temporary files, Ray's among them."""
    project = new_project()
    # Short, because Ray's sockets lie there.
    folder = Path(tempfile.mkdtemp(prefix="lh"))
    with small_disk(folder, megabytes=64):
        yield project, folder
        project.close()
    folder.rmdir()


@pytest.mark.fault("disk", "the disk of temporary files fills up, Ray's and Tune's among them")
def test_a_full_disk_of_temporary_files_loses_nothing(
    temporary, expected_history, recorded_history
):
    project, folder = temporary
    space = project.space("temporary", cell=CELL, search={"trials": TRIALS})
    driver = project.start("search", space, "--json", TMPDIR=str(folder))
    project.await_witness(driver, lambda one: "row" in one)
    ballast = fill(folder, 0)
    status = driver.wait()
    assert "Traceback" not in driver.stderr
    project.check_nothing_is_lost("temporary")
    ballast.unlink()
    if status:
        assert status == 1
        assert "longhaul resume" in driver.stderr + driver.stdout
        driver = project.run("resume", "temporary", "--json", TMPDIR=str(folder))
        assert driver.popen.returncode == 0, driver.stderr
    project.check_nothing_is_lost("temporary")
    ledger = project.ledger("temporary")
    assert ledger.record().state == "completed"
    assert sorted(ledger.record().trials) == list(range(TRIALS))
    for number, trial in ledger.record().trials.items():
        steps = [step for step, _ in trial.reports]
        assert recorded_history(ledger, number) == expected_history(trial.config, steps)


def record(project):
    return project.ledger("full").record()
