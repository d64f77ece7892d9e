"""longhaul check, spaces, cells, tasks."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from longhaul.cli.main import main
from longhaul_trainers.catalogue import CELLS, TASKS


@pytest.fixture
def run(tmp_path: Path, monkeypatch):
    """Runs a command in an empty folder and requires that it stays empty."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, status: int = 0) -> Result:
        before = sorted(tmp_path.rglob("*"))
        result = CliRunner().invoke(main, arguments, env={"LONGHAUL_DEBUG": ""})
        assert result.exit_code == status, result.output
        assert sorted(tmp_path.rglob("*")) == before
        return result

    return call


def json_of(result: Result) -> dict:
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def test_check_shows_what_a_search_amounts_to(run):
    found = json_of(run("check", "copying-quickstart", "--json"))
    assert found["name"] == "copying-quickstart"
    assert [cell["cell"] for cell in found["cells"]] == ["exprnn", "scornn", "lstm"]
    assert found["most_steps"] == found["trials"] * found["rungs"][-1]
    assert found["task"]["baseline"] == pytest.approx(0.1733, abs=1e-4)
    assert len(found["sha256"]) == 64
    assert {hole["name"] for hole in found["holes"]} >= {"cell", "cell.lstm.forget_bias"}


def test_check_for_people(run):
    shown = run("check", "copying-quickstart").stdout
    for part in (
        "cell.exprnn.learning_rate_ratio",
        "loguniform",
        "0.03, 0.3",
        "cell = exprnn",
        "19,785",
        "compared at 200, 600",
        "0.1733",
        "skew_init:",
    ):
        assert part in shown


def test_check_a_file_with_changes(run, tmp_path: Path):
    file = tmp_path / "My Space.yaml"
    file.write_text("task: adding\ncell: {name: gru, hidden_size: {int: [2, 4]}}\n", "utf-8")
    changes = ["--set", "training.steps=9", "--set", "search.scheduler=full"]
    found = json_of(run("check", str(file), "--name", "mine", *changes, "--json"))
    assert (found["name"], found["rungs"]) == ("mine", [9])
    assert found["source"] == str(file)
    assert "no holes" not in run("check", str(file), "--name", "mine").stdout
    shown = run("check", str(file), "--name", "mine", "--set", "cell.hidden_size=3").stdout
    assert "no holes" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "copying-quikstart"], "did you mean 'copying-quickstart'?"),
        (["check", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["check", "copying/lstm", "--set", "cell.hiden_size=3"], "--set cell.hiden_size: unknown"),
        (["check", "copying/lstm", "--set", "cell"], "expected PATH=VALUE"),
        (["check", "copying/lstm", "--name", "../x"], "--name: found '../x'"),
        (["cells", "exprn"], "unknown cell 'exprn'; did you mean 'exprnn'?"),
        (["tasks", "copyin"], "unknown task 'copyin'; did you mean 'copying'?"),
    ],
)
@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_wrong_request_is_one_message_and_status_2(run, arguments, message, as_json):
    result = run(*arguments, *as_json, status=2)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_hostile_file_is_refused(run, tmp_path: Path):
    file = tmp_path / "evil.yaml"
    file.write_text("task: !!python/object/apply:os.mkdir [made]\ncell: gru\n", "utf-8")
    message = run("check", str(file), status=2).stderr
    assert f"{file}:1: task: found the tag" in message


def test_spaces(run):
    found = json_of(run("spaces", "--json"))["spaces"]
    names = [one["name"] for one in found]
    assert "copying-quickstart" in names
    assert "adding/scornn" in names
    one = found[names.index("copying/exprnn")]
    assert (one["task"], one["cells"], one["steps"]) == ("copying", ["exprnn"], 4000)
    assert Path(one["file"]).is_file()
    shown = run("spaces").stdout
    assert all(name in shown for name in names)


def test_cells(run):
    found = json_of(run("cells", "--json"))["cells"]
    assert [one["name"] for one in found] == CELLS.names()
    assert all(one["summary"] and one["equations"] and one["reference"] for one in found)
    shown = run("cells").stdout
    assert all(name in shown for name in CELLS.names())


@pytest.mark.parametrize("name", CELLS.names())
def test_one_cell(run, name):
    found = json_of(run("cells", name, "--json"))
    cell = CELLS.get(name)
    assert found["equations"] == cell.equations
    settings = {one["key"]: one for one in found["settings"]}
    assert settings["hidden_size"]["default"] == 128
    expected = cell.parameter_count(10, cell.settings_type(hidden_size=64))
    assert found["parameters"]["64"] == expected
    shown = run("cells", name).stdout
    assert cell.equations.splitlines()[0] in shown
    assert "hidden_size" in shown
    assert f"{expected:,}" in shown


def test_tasks(run):
    found = json_of(run("tasks", "--json"))["tasks"]
    assert [one["name"] for one in found] == TASKS.names()
    shown = run("tasks").stdout
    assert all(name in shown for name in TASKS.names())
    assert "arjovsky-2016" in shown


@pytest.mark.parametrize("name", TASKS.names())
def test_one_task(run, name):
    found = json_of(run("tasks", name, "--json"))
    protocols = {one["name"]: one for one in found["protocols"]}
    assert list(protocols) == list(TASKS.get(name).protocols)
    assert all(one["source"] and one["steps"] and one["baseline"] > 0 for one in found["protocols"])
    shown = run("tasks", name).stdout
    assert found["example"].splitlines()[0] in shown
    one = protocols["helfrich-2018"]
    for part in ("helfrich-2018", f"{one['steps']:,}", one["defects"].split()[1]):
        assert part in shown


@pytest.mark.parametrize("command", ["check", "spaces", "cells", "tasks"])
def test_help(run, command):
    shown = run(command, "-h").stdout
    assert f"longhaul {command}" in shown
    assert "--json" in shown
