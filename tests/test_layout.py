"""Guards of what no linter sees: folders, direction of imports, light start-up, documentation."""

import ast
import re
import socket
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import click
import pytest

from longhaul.cli.main import COMMANDS, LazyGroup, main

ROOT = Path(__file__).parents[1]
PLATFORM, TRAINERS = ROOT / "platform" / "longhaul", ROOT / "trainers" / "longhaul_trainers"
KERNELS = TRAINERS / "scans" / "fused"
HEAVY = ["torch", "numpy", "ray", "mlflow", "optuna", "pyarrow", "pandas", "rich", "yaml"]


def tracked(suffix: str = "") -> list[Path]:
    """The files that git tracks here; the whole test is skipped outside a checkout."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    ).stdout.split("\0")
    files = [ROOT / name for name in listed if name.endswith(suffix) and name]
    assert files
    return [file for file in files if file.is_file()]


def run_python(code: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# With an __init__.py, `platform/` would shadow Python's standard module of that name in every
# process started here; `tests/platform/` would do so under pytest. Neither ruff nor pyright sees
# it.
@pytest.mark.parametrize("folder", ["platform", "trainers", "search_spaces", "infra", "tests"])
def test_source_roots_are_no_packages(folder):
    assert not (ROOT / folder / "__init__.py").exists()
    assert not (ROOT / "tests" / "platform").exists()


def test_a_process_started_here_imports_the_standard_platform():
    found = Path(run_python("import platform; print(platform.__file__)"))
    assert found.parent == Path(sysconfig.get_paths()["stdlib"])


def imports(file: Path) -> Iterator[str]:
    """The absolute names that a module imports, at any depth."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


@pytest.mark.parametrize("file", sorted(TRAINERS.rglob("*.py")), ids=lambda f: f.stem)
def test_trainers_import_neither_the_platform_nor_its_libraries(file):
    allowed = {"longhaul_trainers", "torch", "numpy", "safetensors"} | sys.stdlib_module_names
    if {TRAINERS / "data", TRAINERS / "tasks"} & {*file.parents}:
        allowed |= {"pyarrow", "scipy", "sklearn"}
    if file.parent == KERNELS and file.stem.endswith("_kernels"):
        allowed.add("triton")
    assert {name.partition(".")[0] for name in imports(file)} <= allowed


def test_every_imported_library_is_declared():
    # One that only comes along with another would vanish with that one's next release.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {
        re.split(r"[\[<>=~! ]", requirement)[0].lower() for requirement in project["dependencies"]
    }
    files = [*PLATFORM.rglob("*.py"), *TRAINERS.rglob("*.py")]
    roots = {name.partition(".")[0] for file in files for name in imports(file)}
    # Builds of torch for CUDA bring Triton of the version that they need; others do without.
    ours = {"longhaul", "longhaul_trainers", "triton"}
    providers = packages_distributions()
    missing = {
        root
        for root in roots - ours - sys.stdlib_module_names
        if not declared & {provider.lower() for provider in providers.get(root, [])}
    }
    assert not missing


@pytest.mark.parametrize("entry", ["longhaul", "longhaul.cli.main", "every command"])
def test_starting_is_light(entry):
    modules = [target.partition(":")[0] for target, _ in COMMANDS.values()]
    names = modules if entry == "every command" else [entry]
    code = f"import sys, importlib\nfor name in {names}: importlib.import_module(name)\n"
    loaded = run_python(code + "print(*sys.modules)").split()
    assert not set(HEAVY) & set(loaded)


def command(name: str) -> click.Command:
    assert isinstance(main, LazyGroup)
    found = main.get_command(click.Context(main), name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name):
    assert (command(name).help or "").strip()
    for parameter in command(name).params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_documentation(name):
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    mentions = re.compile(rf"\blonghaul {name}\b")
    assert any(mentions.search(page.read_text(encoding="utf-8")) for page in pages)


def test_every_command_module_is_listed():
    written = {
        file.stem
        for file in (PLATFORM / "cli").glob("*.py")
        if "@click.command(" in file.read_text(encoding="utf-8")
    }
    assert written == set(COMMANDS)


def test_make_targets_in_the_documentation_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = set()
    for page in tracked(".md"):
        text = page.read_text(encoding="utf-8")
        named |= set(re.findall(r"`make ([a-z-]+)", text))
        for block in re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S):
            named |= set(re.findall(r"^(?:\$ )?make ([a-z-]+)", block, re.M))
    assert {"search", "test"} <= named
    assert named <= targets


def test_files_stay_readable_in_one_sitting():
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in tracked(".py")}
    assert not {file: lines for file, lines in lengths.items() if lines >= 500}


def test_no_file_knows_the_machine_it_was_written_on():
    home = r"(?<!\w)/(?:root|Users/\w+|home/(?!ray\b|user\b)\w+|work/(?:main|shared))/"
    registry = "|".join(
        ("pypi" r"\.org", "python" r"hosted\.", "download" r"\.pytorch", "npm" r"js\.")
    )
    pattern = f"{home}|{registry}"
    host = socket.gethostname()
    if len(host) > 5 and host != "localhost":
        pattern += rf"|\b{re.escape(host)}\b"
    found = []
    for file in tracked():
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a binary fixture
        found += [f"{file.relative_to(ROOT)}: {match}" for match in re.findall(pattern, text)]
    assert not found


def without_encoding(call: ast.Call) -> bool:
    """Whether a call opens a text file in whatever encoding the machine prefers."""
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    if any(keyword.arg in {"encoding", None} for keyword in call.keywords):
        return False
    if name in {"read_text", "write_text"} and isinstance(call.func, ast.Attribute):
        return len(call.args) < (1 if name == "read_text" else 2)
    if name != "open":
        return False
    position = 1 if isinstance(call.func, ast.Name) else 0  # open(file, mode), path.open(mode)
    given = [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    mode = given[0] if given else call.args[position] if len(call.args) > position else None
    if mode is None:
        return isinstance(call.func, ast.Name) or not (call.args or call.keywords)
    # Any other first argument of an attribute `open` is no mode: Ledger.open(uri, name).
    text = mode.value if isinstance(mode, ast.Constant) else None
    return isinstance(text, str) and re.fullmatch(r"[rwax+t]+", text) is not None


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("open(p)", True),
        ("open(p, 'w')", True),
        ("open(p, 'rb')", False),
        ("open(p, encoding='utf-8')", False),
        ("p.open()", True),
        ("p.open('wb')", False),
        ("p.open(mode='a')", True),
        ("Ledger.open(uri, name)", False),
        ("p.read_text()", True),
        ("p.read_text('utf-8')", False),
        ("p.write_text(x)", True),
        ("p.write_text(x, encoding='utf-8')", False),
    ],
)
def test_the_guard_of_encodings_sees_what_it_should(source, expected):
    call = ast.parse(source, mode="eval").body
    assert isinstance(call, ast.Call)
    assert without_encoding(call) is expected


def test_every_text_file_is_opened_with_an_encoding():
    # Without one, a file written on one machine is misread on another whose locale differs.
    found = []
    for file in [*PLATFORM.rglob("*.py"), *TRAINERS.rglob("*.py"), *ROOT.glob("benchmarks/*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and without_encoding(node):
                found.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert found == []
