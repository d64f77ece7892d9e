"""The package that docs/own-cell.md shows, taken from the page, installed and searched."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

PAGE = (Path(__file__).parents[2] / "docs" / "own-cell.md").read_text(encoding="utf-8")
FILES = {
    path.replace("\\", ""): text
    for path, text in re.findall(r"^\*\*(\S+)\*\*\n\n```\w+\n(.*?)^```$", PAGE, re.M | re.S)
}
COMMANDS = [shlex.split(line) for line in re.findall(r"^\$ (.*)$", PAGE, re.M)]


@pytest.fixture(scope="module")
def project(new_project):
    """A user's folder with the files of the page, and the package installed."""
    project = new_project()
    for path, text in FILES.items():
        file = project.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    (install,) = [words for words in COMMANDS if words[0] == "pip"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", *install, *offline, "--target", str(project.plugins)]
    done = subprocess.run(
        command, cwd=project.folder, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return project


def test_the_page_shows_a_whole_package():
    assert set(FILES) == {
        "leaky-cells/pyproject.toml",
        "leaky-cells/leaky_cells/__init__.py",
        "leaky-cells/test_leaky.py",
        "leaky.yaml",
    }
    assert [words[:2] for words in COMMANDS] == [
        ["pip", "install"],
        ["longhaul", "cells"],
        ["longhaul", "check"],
        ["longhaul", "search"],
    ]


def test_its_own_tests_pass(project):
    test = project.folder / "leaky-cells" / "test_leaky.py"
    environment = project.environment() | {"PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
        cwd=project.folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_its_commands_find_and_search_the_cell(project):
    answers = {}
    for words in COMMANDS:
        if words[0] == "longhaul":
            driver = project.run(*words[1:], "--json")
            assert driver.popen.returncode == 0, driver.stderr
            answers[words[1]] = driver.json()
    shown = answers["cells"]
    assert (shown["name"], shown["package"]) == ("leaky", "leaky-cells 1.0")
    assert shown["kind"] == "residual"
    (cell,) = answers["check"]["cells"]
    assert cell["cell"] == "leaky"
    record = project.ledger("leaky").record()
    trials = list(record.trials.values())
    assert len(trials) == 2
    assert {one.state for one in trials} <= {"completed", "stopped"}
    assert "completed" in {one.state for one in trials}
    leaks = [one.config["cell"]["leak"] for one in trials]
    assert all(0.01 <= leak <= 1 for leak in leaks)
    assert leaks[0] != leaks[1]
    assert all(one.config["cell"]["name"] == "leaky" for one in trials)
