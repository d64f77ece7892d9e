"""Every file of infra/ is checked, and each check can fail."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def load_mutations():
    spec = importlib.util.spec_from_file_location(
        "mutations", Path(__file__).parent / "mutations.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutations"] = module
    spec.loader.exec_module(module)
    return module.MUTATIONS


MUTATIONS = load_mutations()
CASES = [
    pytest.param(
        name, one, id=f"{name.removeprefix('infra/')}: {one.new.strip() or one.old.strip()}"
    )
    for name, changes in MUTATIONS.items()
    for one in changes
]
SOUND: set[str] = set()
QUICK = [one for one in CASES if one.values[1].quick]


def mutate(root, name, mutation):
    file = root / name
    text = file.read_text(encoding="utf-8")
    assert mutation.old in text, f"{name} has no {mutation.old!r}: renew tests/infra/mutations.py"
    file.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")


def test_every_file_passes_what_can_be_checked_here(checks):
    done = checks(ROOT, "--available")
    assert done.returncode == 0, done.stdout + done.stderr
    missing = re.findall(r"^missing: (\S+)", done.stderr, re.M)
    # Told, not passed over.
    if missing:
        assert f"not checked with {', '.join(missing)}" in done.stdout


def test_every_file_has_a_mutation():
    tracked = subprocess.run(
        ["git", "ls-files", "infra"], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )
    if tracked.returncode:
        pytest.skip("no git repository here")
    # The checks themselves are what the mutations test.
    names = {one for one in tracked.stdout.split() if not one.startswith("infra/checks/")}
    assert names - set(MUTATIONS) == set()
    assert {one for one in MUTATIONS if one not in tracked.stdout} == set()


def test_a_file_that_nothing_checks_is_refused(checks, copy):
    (copy / "infra/compose/notes.toml").write_text("a = 1\n", encoding="utf-8")
    done = checks(copy, "--available", "infra/compose/notes.toml")
    assert done.returncode == 1
    assert "no check is for it" in done.stdout


def test_a_missing_program_is_told_and_fails_make_infra(copy, monkeypatch, tmp_path_factory):
    empty = tmp_path_factory.mktemp("bin")
    (empty / "python").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(empty))
    code = f"""
import sys
sys.path.insert(0, {str(ROOT / "infra/checks")!r})
sys.argv = ["checks", "--root", {str(copy)!r}, "infra/constraints/cpu.txt"]
import tools
tools.find = lambda tool: (_ for _ in ()).throw(tools.MissingToolError(tool))
import runpy
runpy.run_path({str(ROOT / "infra/checks/__main__.py")!r}, run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 3, done.stderr
    assert "missing: promtool is not here: apt-get install prometheus" in done.stderr


@pytest.mark.parametrize(("name", "mutation"), QUICK)
def test_what_python_alone_notices(problems, copy, name, mutation):
    mutate(copy, name, mutation)
    said = problems(copy, name)
    assert said
    assert all(one.startswith(f"{name}: ") for one in said)


def test_the_copy_is_sound_before_anything_is_changed(problems, copy):
    assert [one for name in MUTATIONS for one in problems(copy, name)] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "mutation"), CASES)
def test_each_mutation_is_noticed(checks, copy, name, mutation):
    if name not in SOUND:
        before = checks(copy, name)
        if before.returncode == 3:
            pytest.skip(before.stderr.strip())
        assert before.returncode == 0, before.stdout
        SOUND.add(name)
    mutate(copy, name, mutation)
    done = checks(copy, name)
    assert done.returncode == 1, done.stdout
    assert f"{name}: " in done.stdout
