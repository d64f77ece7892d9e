"""The checks of infra/checks, called as `make infra` calls them, on a copy of the repository."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What the files of infra/ name.
NAMED = ("pyproject.toml", "README.md", "LICENSE", "platform", "trainers", "search_spaces", "docs")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The parts of the repository that the checks look at."""
    for name in ("infra", *NAMED):
        source = ROOT / name
        if name == "infra":
            skipped = shutil.ignore_patterns("__pycache__", "secrets", ".env")
            shutil.copytree(source, tmp_path / name, ignore=skipped)
        elif source.is_dir():
            (tmp_path / name).mkdir()
        else:
            shutil.copy(source, tmp_path / name)
    for page in ("deployment", "cluster"):
        (tmp_path / f"docs/{page}.md").touch()
    return tmp_path


@pytest.fixture(scope="session")
def checks() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the checks on a root, with their arguments."""

    def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, ROOT / "infra/checks", "--root", root, *arguments],
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def problems() -> Callable[[Path, str], list[str]]:
    """What Python alone finds wrong with a file below a root: no other program is called."""
    folder = str(ROOT / "infra/checks")
    sys.path.insert(0, folder)
    try:
        # "__main__" is pytest itself.
        spec = importlib.util.spec_from_file_location("infra_checks", Path(folder, "__main__.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    programs = {tool for rule in module.RULES for tool in rule.tools}
    return lambda root, name: module.problems(root, Path(name), programs)
