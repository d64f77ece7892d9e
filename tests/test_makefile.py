"""`make` on a machine that is not ready, and its second call; nothing is installed here."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STUB = """#!/bin/sh
# Stands in for a Python: fails where the asked code contains a word.
case "$*" in *{word}*) exit 1;; esac
echo "$@" >> asked
case "$*" in "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python;; esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the set-up reads, without what it installs."""
    for name in ("Makefile", "pyproject.toml", "infra/constraints/cpu.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def make(
    folder: Path, target: str, fails_at: str = "nothing at all"
) -> subprocess.CompletedProcess:
    stub = folder / "python-stub"
    stub.write_text(STUB.format(word=f'"{fails_at}"'), encoding="utf-8")
    stub.chmod(0o755)
    # A `make test` that runs this must not hand its own flags down.
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(
        ["make", target, "PYTHON=./python-stub"],
        cwd=folder,
        env=env,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize(
    ("fails_at", "message"),
    [
        ("-c", "no ./python-stub here"),
        ("version_info", "needs Python 3.11 or newer"),
        ("ensurepip", "apt-get install python3-venv"),
    ],
)
def test_what_is_missing_is_said_in_one_line(checkout, fails_at, message):
    done = make(checkout, "search", fails_at)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert message in line
    assert not (checkout / ".venv").exists()


def pip_calls(checkout: Path) -> list[str]:
    asked = (checkout / "asked").read_text(encoding="utf-8").splitlines()
    return [line.rpartition(" ")[2] for line in asked if line.startswith("-m pip install")]


def test_the_set_up_is_done_once_and_again_when_its_inputs_change(checkout):
    for _ in range(2):
        assert make(checkout, ".venv/installed").returncode == 0
    assert pip_calls(checkout) == ["."]
    for _ in range(2):
        assert make(checkout, ".venv/installed-dev").returncode == 0
    assert pip_calls(checkout) == [".", ".[dev]"]
    # What the tests need contains what a search needs.
    assert make(checkout, ".venv/installed").returncode == 0
    assert pip_calls(checkout) == [".", ".[dev]"]
    later = (checkout / ".venv/installed-dev").stat().st_mtime + 10
    os.utime(checkout / "infra/constraints/cpu.txt", (later, later))
    assert make(checkout, ".venv/installed-dev").returncode == 0
    assert pip_calls(checkout) == [".", ".[dev]", ".[dev]"]


def test_a_set_up_that_broke_is_tried_again(checkout):
    assert make(checkout, ".venv/installed", fails_at="pip install").returncode != 0
    assert not (checkout / ".venv/installed").exists()
    (checkout / ".venv/bin/python").unlink()
    (checkout / ".venv/created").unlink()
    assert make(checkout, ".venv/installed").returncode == 0
    assert pip_calls(checkout) == ["."]


@pytest.mark.parametrize(("searches", "others"), [(0, 0), (1, 0), (0, 1)])
def test_both_halves_of_the_tests_run_and_count(checkout, searches, others):
    binaries = checkout / ".venv" / "bin"
    binaries.mkdir(parents=True)
    for name in ("created", "installed", "installed-dev"):
        (checkout / ".venv" / name).touch()
    pytest_stub = binaries / "pytest"
    pytest_stub.write_text(
        '#!/bin/sh\necho "ran $*"\n'
        f'case "$*" in tests/search) exit {searches};; *) exit {others};; esac\n',
        encoding="utf-8",
    )
    pytest_stub.chmod(0o755)
    done = make(checkout, "test")
    assert (done.returncode == 0) == (searches + others == 0)
    assert {"ran tests/search", "ran --ignore=tests/search"} <= set(done.stdout.splitlines())
