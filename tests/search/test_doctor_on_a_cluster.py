"""``longhaul doctor --address``: a real cluster, one with other code, and a wrong token."""

import os
import shutil
from pathlib import Path

import pytest

import longhaul
import longhaul_trainers

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]


def findings(project, address, **environment):
    driver = project.run("doctor", "--address", address, "--json", **environment)
    told = driver.json()
    assert driver.popen.returncode == (0 if told["ok"] else 1), driver.stderr
    return [one for one in told["findings"] if one["part"] in ("cluster", "clock")]


def test_a_cluster_that_is_well_and_one_whose_token_is_another(new_project):
    project = new_project()
    address = project.start_cluster(1)
    found = findings(project, address)
    assert {one["level"] for one in found} == {"ok"}, found
    assert any("nodes write to the storage" in one["message"] for one in found)
    assert not project.storage.exists()
    refused = findings(project, address, RAY_AUTH_TOKEN="0" * 64)
    assert [one["level"] for one in refused if one["part"] == "cluster"] == ["problem"]
    assert "RAY_AUTH_TOKEN_PATH" in refused[-1]["fix"]


def test_a_head_on_loopback_is_found_by_auto(new_project, monkeypatch):
    project = new_project()
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    address = project.start_cluster(1)
    monkeypatch.undo()
    assert address.startswith("127.0.0.1:")
    found = findings(project, "auto", RAY_ADDRESS=address)
    assert {one["level"] for one in found} == {"ok"}, found


def test_nodes_with_other_code(new_project):
    project = new_project()
    for package in (longhaul, longhaul_trainers):
        source = Path(package.__file__).parent
        shutil.copytree(source, project.plugins / source.name)
    with (project.plugins / "longhaul_trainers/seeds.py").open("a", encoding="utf-8") as file:
        file.write("# edited\n")
    address = project.start_cluster(1)
    ours = os.environ.get("PYTHONPATH", "")  # without the folder of the plug-ins
    found = findings(project, address, PYTHONPATH=ours)
    (one,) = [one for one in found if one["level"] == "problem"]
    assert "this machine and node " in one["message"]
    assert "longhaul " in one["message"]
    assert "one was edited: submit a wheel of it" in one["fix"]
