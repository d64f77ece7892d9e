"""longhaul check, spaces, cells, tasks."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from longhaul.cli.main import main
from longhaul_trainers.catalogue import CELLS, TASKS
from longhaul_trainers.cells.base import KINDS
from longhaul_trainers.settings import describe


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
    answer = json_of(run("cells", "--json"))
    found = answer["cells"]
    assert answer["broken"] == []
    assert sorted(one["name"] for one in found) == sorted(CELLS.names())
    assert all(one["summary"] and one["equations"] and one["reference"] for one in found)
    kinds = [one["kind"] for one in found]
    assert list(dict.fromkeys(kinds)) == [kind for kind in KINDS if kind in kinds]
    lines = run("cells").stdout.splitlines()[1:]
    for one in found:
        (line,) = [line for line in lines if f" {one['name']} " in line[:40]]
        assert one["summary"].rstrip(".")[:40] in line
        assert one["citation"].split()[0] in line
    assert [line.split()[0] for line in lines if line[0] != " "] == list(dict.fromkeys(kinds))


@pytest.fixture
def plug_in(tmp_path_factory, monkeypatch):
    """Installs a package with these entry points, which this process sees from now on."""

    def install(entry_points: dict[str, str], module: str) -> None:
        folder = tmp_path_factory.mktemp("site")
        metadata = folder / "mycells-2.1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mycells\nVersion: 2.1\n")
        lines = [f"{name} = {target}" for name, target in entry_points.items()]
        (metadata / "entry_points.txt").write_text("\n".join(["[longhaul.cells]", *lines, ""]))
        (folder / "mycells_of_this_test.py").write_text(module)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, "mycells_of_this_test", raising=False)
        CELLS.__dict__.pop("_contributed", None)

    yield install
    monkeypatch.undo()
    CELLS.__dict__.pop("_contributed", None)


MODULE = """
from longhaul_trainers.cells.rnn import RNN
Mine = RNN
NoCell = 3
"""


def test_a_broken_package_is_told_in_one_line_and_the_rest_is_listed(run, plug_in):
    targets = {"mine": "Mine", "gone": "Gone", "number": "NoCell", "nowhere": "Mine"}
    points = {name: f"mycells_of_this_test:{target}" for name, target in targets.items()}
    plug_in(points | {"nowhere": "no_such_module_at_all:Mine"}, MODULE)
    answer = json_of(run("cells", "--json"))
    listed = {one["name"]: one["package"] for one in answer["cells"]}
    assert listed["mine"] == "mycells 2.1"
    assert listed["lstm"] == ""
    assert {one["name"] for one in answer["broken"]} == {"gone", "number", "nowhere"}
    assert {one["package"] for one in answer["broken"]} == {"mycells 2.1"}
    result = run("cells")
    assert " mine " in result.stdout
    warnings = result.stderr.splitlines()
    assert len(warnings) == 3
    for name, word in (("gone", "Gone"), ("number", "AttributeError"), ("nowhere", "no_such_mod")):
        (line,) = [line for line in warnings if f"'{name}'" in line]
        assert line.startswith(f"warning: cell '{name}' of the package mycells 2.1 cannot be ")
        assert word in line


def test_a_broken_cell_cannot_be_shown_or_searched(run, plug_in, tmp_path: Path):
    plug_in({"gone": "mycells_of_this_test:Gone", "number": "mycells_of_this_test:NoCell"}, MODULE)
    file = tmp_path / "mine.yaml"
    file.write_text("task: adding\ncell: {name: gone, hidden_size: 4}\n", "utf-8")
    problem = "cell 'gone' of the package mycells 2.1 cannot be loaded"
    assert f"cell.name: {problem}" in run("check", str(file), status=2).stderr
    assert run("cells", "gone", status=2).stderr.startswith(f"error: {problem}")
    assert "'number' of the package mycells" in run("cells", "number", status=2).stderr


@pytest.mark.parametrize("name", CELLS.names())
def test_one_cell(run, name):
    found = json_of(run("cells", name, "--json"))
    cell = CELLS.get(name)
    assert found["equations"] == cell.equations
    settings = {one["key"]: one for one in found["settings"]}
    assert settings["hidden_size"]["default"] == describe(cell.settings_type)["hidden_size"].default
    expected = cell.parameter_count(10, cell.settings_type(hidden_size=64))
    assert found["parameters"]["64"] == expected
    assert (found["bibtex"], found["differs"]) == (cell.bibtex, cell.differs)
    assert found["search_ranges"] == dict(cell.search_ranges)
    shown = run("cells", name).stdout
    words = " ".join(shown.split())
    for part in (cell.equations, cell.differs, cell.reference, cell.count_formula, cell.bibtex):
        assert " ".join(part.split()) in words
    for key in (*settings, *cell.search_ranges):
        assert key in shown
    assert f"{expected:,}" in shown


def test_the_default_of_a_component_shows_what_it_changes(run):
    settings = {one["key"]: one for one in json_of(run("cells", "scornn", "--json"))["settings"]}
    assert settings["nonlinearity"]["changed"] == {"bias_init": "zero"}
    assert "{name: modrelu, bias_init: zero}" in run("cells", "scornn").stdout
    settings = {one["key"]: one for one in json_of(run("cells", "rnn", "--json"))["settings"]}
    assert settings["nonlinearity"]["changed"] == {}


def test_tasks(run):
    found = json_of(run("tasks", "--json"))["tasks"]
    assert [one["name"] for one in found] == TASKS.names()
    shown = run("tasks").stdout
    assert all(name in shown for name in TASKS.names())
    assert "arjovsky-2016" in shown


@pytest.mark.parametrize("name", TASKS.names())
def test_one_task(run, name):
    found = json_of(run("tasks", name, "--json"))
    protocols = found["protocols"]
    assert [one["name"] for one in protocols] == list(TASKS.get(name).protocols)
    assert all(one["source"] and one["steps"] for one in protocols)
    # Only of TIMIT, which nobody may give away, is nothing known without the files.
    known = [one for one in protocols if "TIMIT: " not in one["summary"]]
    assert known
    assert all(one["baseline"] > 0 and one["length"] > 0 for one in known)
    shown = run("tasks", name).stdout
    assert (found["example"] or "longhaul data").splitlines()[0].rstrip() in shown
    for one in protocols:
        for part in (one["name"], f"{one['steps']:,}", *one["defects"].split()[1:2]):
            assert part in shown


@pytest.mark.parametrize("name", ["characters", "music", "pixels", "sequences", "speech_frames"])
def test_a_task_is_shown_without_its_data(run, name, monkeypatch):
    monkeypatch.delenv("LONGHAUL_DATA")
    found = json_of(run("tasks", name, "--json"))
    assert any(one["baseline"] for one in found["protocols"])
    shown = run("tasks", name).stdout
    assert (found["example"] or "its data is not here").splitlines()[0].rstrip() in shown


@pytest.mark.parametrize("command", ["check", "spaces", "cells", "tasks"])
def test_help(run, command):
    shown = run(command, "-h").stdout
    assert f"longhaul {command}" in shown
    assert "--json" in shown
