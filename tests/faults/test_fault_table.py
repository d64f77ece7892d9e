"""The fault table: every row has a test, every test has a row, and the page tells what happened."""

import ast
import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"


@pytest.fixture(scope="module")
def benchmarks():
    """The programs that make the table; they import each other by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield importlib.import_module("faults"), importlib.import_module("fault_rows")
        for name in ("faults", "fault_rows", "machine"):
            sys.modules.pop(name, None)


def marked():
    """Row and words of every marker in the tests."""
    for path in TESTS.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "mark.fault(" in text:
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
                    yield path, [ast.literal_eval(one) for one in node.args]


def test_every_row_has_a_test_and_every_test_a_row(benchmarks):
    _, rows = benchmarks
    found = list(marked())
    assert {len(args) for _, args in found} == {2}
    assert {args[0] for _, args in found} == set(rows.ROWS)


def test_every_row_of_the_plain_stack_is_one_of_the_table(benchmarks):
    _, rows = benchmarks
    plain = importlib.import_module("plain_faults")
    try:
        assert plain.ROWS.keys() == rows.ROWS.keys()
    finally:
        for name in ("plain_faults", "plain_life", "plain_surroundings"):
            sys.modules.pop(name, None)


def test_the_page_tells_what_was_lost_and_what_failed(benchmarks):
    faults, _ = benchmarks
    counts = {"reports": 50, "lost": 1, "doubled": 0}
    outcomes = [
        faults.Outcome("driver", "killed", "passed", {**counts, "lost": 0}),
        faults.Outcome("driver", "killed", "passed", counts),
        faults.Outcome("disk", "full", "failed"),
        faults.Outcome("postgres", "restarts", "skipped", reason="no database here"),
    ]
    text = faults.page(outcomes, {"title": "as shown", "rows": {"driver": "9 of 60 gone"}}, 0.5)
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if "|" in line}
    assert "| 2 (0) | held | 1 of 100 | 0 of 100 | 9 of 60 gone |" in lines["SIGKILL of the driver"]
    assert "| 1 failed |" in lines["Full disk"]
    assert "| 1 skipped |" in lines["The database behind MLflow restarts"]
    assert "| no test |" in lines["SIGKILL of a pack host"]
    assert "no database here" in text
    assert "killed (2 tests" in text


def test_a_test_that_fails_in_any_phase_has_failed(benchmarks, tmp_path):
    faults, _ = benchmarks
    kept = []
    recorder = faults.Recorder(lambda outcomes: kept.append([*outcomes]))
    (tmp_path / "test_it.py").write_text(
        """
import pytest

@pytest.fixture
def broken():
    yield
    raise RuntimeError

@pytest.mark.fault("disk", "a")
def test_passes(record_property):
    record_property("reports", 3)
    record_property("lost", 0)

@pytest.mark.fault("disk", "b")
def test_ends_badly(broken):
    pass

@pytest.mark.fault("disk", "c")
def test_fails():
    raise ValueError

@pytest.mark.fault("disk", "d")
def test_is_skipped():
    pytest.skip("not here")
""",
        encoding="utf-8",
    )
    words = ["-o", "addopts=", "-o", "markers=fault(row, what): x", "-p", "no:cacheprovider"]
    own = ["--rootdir", str(tmp_path), "-c", "/dev/null", "-q", "--no-header", str(tmp_path)]
    pytest.main([*words, *own], plugins=[recorder])
    assert len(kept) == 4
    found = {one.what: one for one in recorder.outcomes.values()}
    results = {what: one.result for what, one in found.items()}
    assert results == {"a": "passed", "b": "failed", "c": "failed", "d": "skipped"}
    assert found["a"].counts == {"reports": 3, "lost": 0}
    assert "not here" in found["d"].reason


def test_a_run_of_some_keeps_what_became_of_the_others(benchmarks):
    faults, _ = benchmarks
    old = faults.Outcome("disk", "a", "passed", date="2024-01-01")
    new = faults.Outcome("disk", "a", "failed", date="2024-02-02")
    idle = faults.Outcome("disk", "a")
    assert faults.merged({"x": old, "y": old}, {"x": new}, whole=False) == {"x": new, "y": old}
    assert faults.merged({"x": old, "y": old}, {"x": idle, "z": idle}, whole=True) == {
        "x": old,
        "z": idle,
    }
