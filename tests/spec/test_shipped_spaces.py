"""Every search space that comes with Longhaul can be run, and says how."""

from pathlib import Path

import optuna
import pytest
import torch

import longhaul
from longhaul.errors import RequestError
from longhaul.spec import shipped
from longhaul.spec.holes import suggest_from
from longhaul.spec.search_spec import SearchSpec
from longhaul.spec.shipped import find_space, shipped_spaces, spaces_root
from longhaul_trainers.catalogue import CELLS, TASKS
from longhaul_trainers.errors import MissingDataError
from longhaul_trainers.tasks.base import Batch
from longhaul_trainers.training.model import SequenceModel
from longhaul_trainers.training.settings import TrialConfig

NAMES = sorted(shipped_spaces())


def test_copying_and_adding_have_one_for_each_cell():
    wanted = {f"{task}/{cell}" for task in ("adding", "copying") for cell in CELLS.names()}
    assert wanted | {"copying-quickstart"} <= set(NAMES)


@pytest.mark.parametrize("task", TASKS.names())
def test_every_task_has_two_cells_to_compare(task):
    assert len([name for name in NAMES if name.startswith(f"{task}/")]) >= 2


# The names of cells in the literature, up to the first comma of what a score is of.
PUBLISHED_CELLS = {
    "AntisymmetricRNN": "antisymmetric",
    "coRNN": "cornn",
    "dtriv": "dtriv",
    "EURNN": "eurnn",
    "expRNN": "exprnn",
    "GRU": "gru",
    "HiPPO-LegS": "lmu",
    "LEM": "lem",
    "LipschitzRNN": "lipschitz",
    "LMU": "lmu",
    "LRU": "lru",
    "LSTM": "lstm",
    "margin 0": "spectral_margin",
    "margin 0.001": "spectral_margin",
    "margin 0.01": "spectral_margin",
    "margin 0.1": "spectral_margin",
    "margin 1": "spectral_margin",
    "nnRNN": "nnrnn",
    "no margin": "spectral_margin",
    "oRNN": "ornn",
    "RNN": "rnn",
    "RNN-orth": "rnn",
    "scoRNN": "scornn",
    "UnICORNN": "unicornn",
    "wRNN": "wrnn",
}
NO_CELLS = {
    "a person",
    "CNN",
    "logistic regression on all 40 numbers",
    "MLP on all 40 numbers",
    "S4",
    "TCN",
    "Transformer",
}


def test_every_published_score_of_a_cell_has_a_space():
    models = {
        (task, score.model.partition(",")[0])
        for task in TASKS.names()
        for protocol in TASKS.get(task).protocols.values()
        for score in protocol.published
    }
    assert len(models) > 40
    wanted = {f"{task}/{PUBLISHED_CELLS[name]}" for task, name in models if name not in NO_CELLS}
    assert wanted <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_its_first_lines_say_what_it_is_and_the_command_that_runs_it(name):
    lines = shipped_spaces()[name].read_text(encoding="utf-8").splitlines()
    comment = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    assert len(comment[0]) > 20
    assert f"longhaul search {name}" in comment


@pytest.mark.parametrize("name", NAMES)
def test_its_points_can_be_trained(name):
    spec = SearchSpec.load(name)
    assert spec.name == name.replace("/", "-")
    assert spec.description
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    built = {}
    for number in range(10):
        trial = study.ask()
        config = TrialConfig.parse(spec.trial(suggest_from(trial), number))
        built[trial.params.get("cell")] = config
    for config in built.values():
        forward_one_step(config)


def forward_one_step(config: TrialConfig) -> None:
    settings = config.task
    if hasattr(settings, "training_size"):
        # a few sequences stand for all: to draw all of ListOps takes half a minute
        settings = settings.with_changes(training_size=100)
    task = TASKS.get(settings.name)(settings)
    try:
        task.prepare()
    except MissingDataError as error:
        pytest.skip(str(error).splitlines()[0])
    generator = torch.Generator().manual_seed(config.seed)
    model = SequenceModel(task, [config.cell], [generator])
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert counted == SequenceModel.parameter_count(task, config.cell)
    batch = Batch.stack([task.training_batch(config.seed, 0, 2)])
    with torch.no_grad():
        # one step in time stands for all: the whole sequence would only take longer
        outputs = model(batch.inputs[:1])
    assert outputs.shape[-1] == task.output_size
    assert torch.isfinite(outputs).all()


def test_the_checkouts_folder_is_used_in_a_checkout():
    assert spaces_root() == Path(__file__).parents[2] / "search_spaces"


def test_the_packaged_folder_is_used_in_an_installation(tmp_path: Path, monkeypatch):
    package = tmp_path / "site-packages" / "longhaul"
    (package / "_search_spaces" / "suites").mkdir(parents=True)
    (package / "_search_spaces" / "one.yaml").touch()
    (package / "_search_spaces" / "suites" / "many.yaml").touch()
    monkeypatch.setattr(longhaul, "__file__", str(package / "__init__.py"))
    assert spaces_root() == package / "_search_spaces"
    assert list(shipped_spaces()) == ["one"]


def test_a_file_comes_before_a_shipped_space(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_space("copying/lstm") == (spaces_root() / "copying/lstm.yaml", "copying-lstm")
    (tmp_path / "copying").mkdir()
    (tmp_path / "copying" / "lstm").touch()
    assert find_space("copying/lstm") == (Path("copying/lstm"), "lstm")


def test_a_shipped_space_given_as_a_file_has_its_own_name():
    file = spaces_root() / "copying" / "lstm.yaml"
    assert find_space(str(file)) == (file, "copying-lstm")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("copying-quikstart", "neither a file nor a shipped space; did you mean 'copying-quickst"),
        ("copying/lstn", "neither a file nor a shipped space; did you mean 'copying/lstm'?"),
        ("copying-quickstart.yaml", "no such file; did you mean the shipped space 'copying-quick"),
        ("copying/lstm.yml", "no such file; did you mean the shipped space 'copying/lstm'?"),
        ("search_spaces/copying-quickstart.yaml", "no such file; did you mean the shipped space"),
        ("mine", "did you mean the file mine.yaml?"),
        ("folder", "a folder; expected a YAML file or a shipped space"),
        ("nowhere.yaml", "no such file; Known: adding/"),
        ("../../../etc/passwd.yaml", "no such file"),
        ("../search_spaces/copying/lstm", "neither a file nor a shipped space"),
        ("", "neither a file nor a shipped space"),
        ("a\0b", "neither a file nor a shipped space"),
    ],
)
def test_a_space_that_is_not_there(given, message, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(RequestError) as caught:
        find_space(given)
    assert message in str(caught.value)


def test_suites_are_no_spaces():
    assert shipped.SUITES == "suites"
    assert not [name for name in NAMES if name.startswith("suites/")]
