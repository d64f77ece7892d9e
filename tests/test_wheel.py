"""The wheel as users get it: built from the sdist, installed elsewhere, run from another folder."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path) -> str:
    # Without PYTHONPATH, which would bring the checkout back.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without isolation, so without a network, and from the sdist, so that it is whole."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a bare environment that holds the wheel, and borrows its dependencies."""
    folder = tmp_path_factory.mktemp("bare")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    (site,) = (folder / "lib").glob("python*/site-packages")
    # A path in a .pth file is not searched for .pth files: the editable install stays out.
    borrowed = sysconfig.get_paths()["purelib"]
    (site / "borrowed.pth").write_text(f"{borrowed}\n", encoding="utf-8")
    return folder / "bin"


def test_it_holds_the_two_packages_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "longhaul",
        "longhaul_trainers",
    }
    assert not [name for name in names if {"tests", "__pycache__"} & set(Path(name).parts)]


def test_it_holds_every_search_space(wheel):
    prefix = "longhaul/_search_spaces/"
    names = zipfile.ZipFile(wheel).namelist()
    packed = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    spaces = ROOT / "search_spaces"
    assert packed == {str(file.relative_to(spaces)) for file in spaces.rglob("*.yaml")}
    assert "copying-quickstart.yaml" in packed


def test_it_runs_from_another_folder(installed, tmp_path):
    where = run(
        installed / "python", "-c", "import longhaul; print(longhaul.__file__)", cwd=tmp_path
    )
    assert Path(where).is_relative_to(installed.parent)
    assert run(installed / "longhaul", "--version", cwd=tmp_path).startswith("longhaul ")
    assert "copying-quickstart" in run(installed / "longhaul", "spaces", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
