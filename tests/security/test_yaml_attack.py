"""Hostile YAML, at every place where Longhaul reads some."""

import tracemalloc
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from longhaul.cli.main import main
from longhaul.comparison.record import read_suite
from longhaul.errors import RequestError
from longhaul.ledger import LocalStorage, StorageError
from longhaul.spec.loading import read_text
from longhaul.tracking.facts import SearchFacts

pytestmark = pytest.mark.attack(6, "YAML that executes, explodes, or means two things")

LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
)
"""A list of a thousand million values in half a kilobyte."""

HOSTILE = {
    "a tag that executes": "task: !!python/object/apply:os.system ['touch FLAG']",
    "a tag that imports": "task: !!python/name:os.system",
    "a tag of one's own": "task: !mine {name: copying}",
    "a thousand million values": LAUGHS + "\ntask: *a8",
    "a value inside itself": "task: &x {name: *x}",
    "depth": "task: " + "[" * 50_000,
    "depth by braces": "task: " + "{a: " * 50_000,
    "size": "description: " + "x" * 1_000_001,
    "ten thousand values": "task: [" + "1," * 10_001 + "]",
    "not a number": "training: {optimizer: {name: adam, learning_rate: .nan}}",
    "infinity": "training: {optimizer: {name: adam, learning_rate: -.inf}}",
    "too large a float": "training: {optimizer: {name: adam, learning_rate: 1e999}}",
    "too large a number": "training: {steps: " + "9" * 5_000 + "}",
    "a key given twice": "task: {name: copying, name: adding}",
    "a merge": "a: &a {b: 1}\ntask: {<<: *a}",
    "a key that is no text": "task: {1: 2}",
    "two documents": "task: copying\n---\ntask: adding",
    "control characters": 'task: "a\x01b"',
    "half a character": 'task: "\\ud800"',
}


FEW = ("a tag that executes", "a thousand million values", "a value inside itself", "two documents")


def one_line(message: str, flag: Path) -> None:
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    assert len(message) < 2_000
    assert not flag.exists()


def cases(names):
    return pytest.mark.parametrize("text", [HOSTILE[name] for name in names], ids=list(names))


def test_the_loader_that_executes_would_have(tmp_path):
    yaml.unsafe_load(HOSTILE["a tag that executes"].replace("FLAG", str(tmp_path / "flag")))
    assert (tmp_path / "flag").exists()


@cases(HOSTILE)
def test_a_hostile_file_is_refused_with_one_message(text, tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text(text.replace("FLAG", str(tmp_path / "flag")), encoding="utf-8")
    done = CliRunner().invoke(main, ["check", str(file)])
    assert done.exit_code == 2, done.output
    assert done.stderr.startswith("error: ")
    one_line(done.stderr.removesuffix("\n"), tmp_path / "flag")


def test_a_thousand_million_values_are_refused_before_they_are_made():
    tracemalloc.start()
    with pytest.raises(RequestError, match="more than 10,000 values"):
        read_text(HOSTILE["a thousand million values"], "f")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6


@cases(FEW)
def test_a_hostile_value_of_an_option_is_refused(text, tmp_path):
    value = text.replace("FLAG", str(tmp_path / "flag")).removeprefix("task: ")
    done = CliRunner().invoke(main, ["check", "copying-quickstart", "--set", f"task={value}"])
    assert done.exit_code == 2, done.output
    one_line(done.stderr.removesuffix("\n"), tmp_path / "flag")


@cases(FEW)
def test_hostile_files_of_a_storage_are_refused(text, whole_search, tmp_path):
    """Whoever may write to a shared storage is trusted with its searches, with nothing more."""
    search, flag = whole_search.storage / "toy", tmp_path / "flag"
    for name in ("spec.yaml", "suite.yaml", "trials/00000/config.yaml"):
        (search / name).write_text(text.replace("FLAG", str(flag)), encoding="utf-8")
    ledger = whole_search.ledger
    with pytest.raises(RequestError) as refused:
        SearchFacts.of(ledger, ledger.events()[0])
    one_line(str(refused.value), flag)
    with pytest.raises(RequestError):
        read_suite(LocalStorage(whole_search.storage), "toy")
    with pytest.raises(StorageError, match=r"config\.yaml is damaged"):
        ledger.trial(0).config()
    done = CliRunner().invoke(main, ["resume", "toy", "--storage", str(whole_search.storage)])
    assert done.exit_code == 2, done.output
    one_line(done.stderr.removesuffix("\n"), flag)


@pytest.mark.parametrize(
    "change",
    [
        "search.trials=1000000000000",
        "training.steps=-1",
        "task.delay=0",
        "search.parallel=0",
        "training.batch_size=1e9",
        "cell={name: 'os:system'}",
        "cell={name: builtins.eval}",
        "cell={name: '{{ 7 * 7 }}'}",
        "description={choice: [a, b]}",
        "task={choice: [copying, adding]}",
        "search.sampler={name: ../tpe}",
    ],
)
@pytest.mark.attack(6, "values out of range, names of code")
def test_values_out_of_range_and_names_of_code_are_refused(change):
    done = CliRunner().invoke(main, ["check", "copying/lstm", "--set", change])
    assert done.exit_code == 2, done.output
    assert len(done.stderr.splitlines()) == 1


def test_an_environment_variable_in_a_file_stays_a_text(monkeypatch):
    monkeypatch.setenv("CANARY", "canary")
    text = "a: $CANARY\nb: ${CANARY}\nc: '{{ env.CANARY }}'\nd: '!ENV CANARY'"
    assert "canary" not in str(read_text(text, "f").value)
