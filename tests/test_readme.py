"""What the README says is done: its commands run, in order, and its links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from longhaul.cli.main import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line.removeprefix("$ longhaul"))
    for block in re.findall(r"^```console\n(.*?)^```", README, re.M | re.S)
    for line in block.splitlines()
    if line.startswith("$ longhaul")
]
NEEDS_NO_SEARCH = {"spaces", "cells", "tasks", "check", "data", "doctor"}
PAGES = [
    page
    for folder in (".", "docs", "infra", "benchmarks", "search_spaces")
    for page in (ROOT / folder).glob("*.md" if folder == "." else "**/*.md")
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("LONGHAUL_STORAGE", "MLFLOW_TRACKING_URI", "LONGHAUL_DEBUG"):
        monkeypatch.delenv(name, raising=False)


def run(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, f"longhaul {shlex.join(arguments)}\n{result.output}"


def test_there_is_something_to_run():
    names = [arguments[0] for arguments in COMMANDS]
    assert set(names) >= NEEDS_NO_SEARCH
    assert {"search", "best", "reproduce"} <= set(names)


@pytest.mark.parametrize(
    "arguments", [one for one in COMMANDS if one[0] in NEEDS_NO_SEARCH], ids=shlex.join
)
def test_commands_that_need_no_search(arguments):
    run(arguments)
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.ray
@pytest.mark.timeout(600)  # a minute on two free cores
def test_commands_about_a_search_in_the_order_of_the_page():
    for arguments in COMMANDS:
        if arguments[0] not in NEEDS_NO_SEARCH:
            run(arguments)
    # The defaults of the page: the storage folder, and MLflow's database beside it.
    assert {"longhaul-runs", "mlflow.db"} <= {path.name for path in Path.cwd().iterdir()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    targets = [link.partition("#")[0] for link in links if "://" not in link]
    broken = [target for target in targets if target and not (page.parent / target).exists()]
    assert not broken
    assert page.name != "README.md" or page.parent != ROOT or len(targets) >= 5


def test_no_output_is_still_to_be_pasted():
    assert "PLACEHOLDER" not in README
