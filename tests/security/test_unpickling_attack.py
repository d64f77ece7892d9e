"""Pickles laid wherever Longhaul, Ray or MLflow might look for one; none of them may be loaded."""

import json
import shutil
import struct
from pathlib import Path

import pytest
from click.testing import CliRunner

from longhaul.cli.main import main
from longhaul_trainers.training.checkpoint import FACTS, TENSORS, read_checkpoint

pytestmark = pytest.mark.attack(7, "checkpoints that are pickles, or absurd")
GOOD_FACTS = json.dumps({"format": 1}).encode()
CONFIG = {
    "task": {"name": "copying", "delay": 5},
    "cell": {"name": "lstm", "hidden_size": 8},
    "training": {
        "steps": 20,
        "batch_size": 4,
        "validation_size": 20,
        "test_size": 20,
        "evaluate_every": 10,
        "optimizer": {"name": "adam", "learning_rate": 0.01},
    },
    "seed": 1,
}


def tensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with whatever header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape: list[int], offsets: list[int], dtype: str = "F32") -> dict[str, object]:
    return {"x": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


ABSURD = {
    "nothing": b"",
    "a header of 2^64 bytes": tensors({}, length=2**64 - 1),
    "a header of 2^62 bytes": tensors({}, length=2**62),
    "a header of 100 MB": tensors({}, length=100_000_001),
    "a header that is longer than the file": tensors({}, length=1000),
    "a tensor of 2^60 numbers": tensors(entry([2**60], [0, 2**62])),
    "dimensions whose product overflows": tensors(entry([2**32, 2**32, 2**32], [0, 4]), b"1234"),
    "more numbers than bytes": tensors(entry([100], [0, 4]), b"1234"),
    "bytes before the file": tensors(entry([1], [-4, 0]), b"1234"),
    "bytes in the wrong order": tensors(entry([1], [4, 0]), b"1234"),
    "a kind of number that is none": tensors(entry([1], [0, 4], "PICKLE"), b"1234"),
    "a header that is no JSON": tensors(b"\x80\x04\x95"),
    "a header that is nested too deeply": tensors(b'{"x":' * 100_000),
    "a header that is a list": tensors([1, 2]),
}


@pytest.mark.parametrize("content", ABSURD.values(), ids=ABSURD)
def test_an_absurd_header_is_refused(content):
    with pytest.raises(ValueError, match="the checkpoint is damaged"):
        read_checkpoint({TENSORS: content, FACTS: GOOD_FACTS})


@pytest.mark.parametrize("facts", [b"[" * 100_000, b"[1]", b"null", b"\x80\x04", b'{"format": 2}'])
def test_absurd_facts_are_refused(facts):
    import safetensors.torch
    import torch

    good = safetensors.torch.save({"x": torch.zeros(1)})
    with pytest.raises(ValueError, match="the checkpoint is"):
        read_checkpoint({TENSORS: good, FACTS: facts})


def test_a_pickle_in_place_of_a_checkpoint_is_refused(trap):
    from longhaul.search.own_pack import OwnPack

    for files in (
        {TENSORS: trap.data, FACTS: GOOD_FACTS},
        {TENSORS: tensors({}), FACTS: trap.data},
        {"state.pt": trap.data, "state.pkl": trap.data},
        {TENSORS: trap.data, FACTS: GOOD_FACTS, "state.pt": trap.data},
    ):
        with pytest.raises(ValueError, match="the checkpoint"):
            OwnPack(CONFIG, "cpu", files)
    assert not trap.went_off


def lay(folder: Path, data: bytes) -> None:
    """Pickles under every name by which Ray Tune, torch, joblib and MLflow look for them."""
    state = {"searcher": {"_type": "CLOUDPICKLE_FALLBACK", "value": data.hex()}}
    for path in (folder, folder / "tune", folder / "trials/00000", folder / "trials/00000/weights"):
        path.mkdir(parents=True, exist_ok=True)
        for name in (
            "tuner.pkl",
            "trainable.pkl",
            "searcher-state-2024-05-01_12-00-00.pkl",
            "search_gen_state-2024-05-01_12-00-00.json",
            "scheduler.pkl",
            "params.pkl",
            "study.pkl",
            "model.pkl",
            "python_model.pkl",
            "best.pt",
            "state.pt",
            "state.pkl",
            "model.joblib",
            ".is_checkpoint",
        ):
            (path / name).write_bytes(data)
        for name in ("experiment_state-2024-05-01_12-00-00.json", "result.json.bak"):
            (path / name).write_text(json.dumps(state), encoding="utf-8")
        model = "flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n"
        (path / "MLmodel").write_text(f"{model}    model_path: model.pkl\n", encoding="utf-8")


@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.attack(7, "pickles in the folder of a search and among its artifacts")
def test_no_command_loads_a_pickle_of_a_search(watched, trap, tmp_path):
    storage = shutil.copytree(watched.storage, tmp_path / "runs")
    for folder in (storage, storage / "space"):
        lay(folder, trap.data)
    (storage / "space/trials/00000/weights/best.safetensors").write_bytes(trap.data)
    shutil.copy(watched.folder / "mlflow.db", tmp_path)
    from_here = ["--storage", str(storage)]
    tracking = ["--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    done = {}
    for words in (
        ["list", *from_here],
        ["show", "space", "0", *from_here],
        ["best", "space", *from_here],
        ["export", "space", str(tmp_path / "trials.parquet"), *from_here],
        ["report", "space", *from_here],
        ["replay", "space", *from_here],
        ["reproduce", "space/0", *from_here, *tracking],
        ["resume", "space", *from_here, *tracking],
        ["sync", "space", "--recreate", *from_here, *tracking],
    ):
        done[words[0]] = CliRunner().invoke(main, words).exit_code
        assert not trap.went_off, words
    assert done["reproduce"] == done["export"] == done["report"] == 0, done


@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.attack(7, "pickled models among the artifacts of a run")
def test_a_run_is_reproduced_without_loading_the_models_beside_it(watched, trap, tmp_path):
    from mlflow import MlflowClient

    uri = watched.tracking_uri
    (run,) = MlflowClient(uri).search_runs(["1"], "tags.`longhaul.trial` = '0'")
    artifacts = Path(run.info.artifact_uri)
    here = tmp_path / "before"
    shutil.copytree(artifacts, here)
    try:
        lay(artifacts, trap.data)
        (artifacts / "weights/best.safetensors").write_bytes(trap.data)
        done = CliRunner().invoke(main, ["reproduce", run.info.run_id, "--tracking-uri", uri])
    finally:
        shutil.rmtree(artifacts)
        shutil.copytree(here, artifacts)
    assert done.exit_code == 0, done.output
    assert not trap.went_off


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.parametrize("content", ["a pickle", "a header of 2^62 bytes"])
@pytest.mark.attack(7, "a hostile checkpoint at `longhaul resume`")
def test_a_trial_is_not_taken_up_from_a_hostile_checkpoint(content, new_search, trap, tmp_path):
    search = new_search()
    search.suggest(0, task={"name": "copying", "delay": 5})
    search.start(0)
    search.train(0, 100)
    search.report(0)
    hostile = ABSURD.get(content, trap.data)
    files = {TENSORS: hostile, FACTS: GOOD_FACTS, "state.pt": trap.data, "state.pkl": trap.data}
    search.ledger.trial(0).save_checkpoint(100, files)
    search.die()
    lay(search.storage / "toy", trap.data)
    words = ["resume", "toy", "--trials", "1", "--storage", str(search.storage)]
    done = CliRunner().invoke(
        main, [*words, "--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db"], catch_exceptions=False
    )
    assert done.exit_code == 1, done.output
    trial = search.ledger.record().trials[0]
    assert trial.state == "failed"
    assert "the checkpoint is damaged" in trial.reason
    assert not trap.went_off
