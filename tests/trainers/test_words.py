"""Language models of words: vocabulary, lanes, perplexity, and files that cannot be used."""

import math

import pytest
import torch

from longhaul_trainers.data.known import DATA_SETS
from longhaul_trainers.data.texts import pydoc_name
from longhaul_trainers.data.words import words_of
from longhaul_trainers.errors import MissingDataError, UnusableDataError
from longhaul_trainers.settings import dump
from longhaul_trainers.tasks.words import Words, WordsSettings
from longhaul_trainers.training.pack import Pack
from longhaul_trainers.training.settings import TrialConfig


def words(**settings):
    return Words(WordsSettings(**settings))


# Every word of its training part comes as often as its number says, the unknown ones later.
COUNTED = " ".join(" ".join([f"w{i}"] * i) for i in range(1, 31))
TEXT = "\n".join([COUNTED] * 20) + "\n" + "never seen before w30 w29\n" * 100


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path))
    (tmp_path / "counted.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path


def spelt(task, batch, b):
    names = task.vocabulary
    read = [names[code] for code in batch.inputs[:, b].argmax(1).tolist()]
    return read, [names[code] for code in batch.targets[:, b].tolist()]


def test_words_are_runs_of_letters_and_marks_stand_alone():
    text = "It's 3.14, naïve_Å\n\n<unk> (x)\n"
    assert words_of(text) == [
        "It", "'", "s", "3", ".", "14", ",", "naïve_Å", "<eos>", "<eos>",
        "<unk>", "(", "x", ")", "<eos>",
    ]  # fmt: skip


def test_the_vocabulary_is_the_training_texts_most_frequent_first(folder):
    task = words(text="counted.txt")
    train = TEXT[: int(0.9 * len(TEXT))]
    assert task.vocabulary[:4] == ["<unk>", "w30", "w29", "w28"]
    assert set(task.vocabulary) == {"<unk>", *words_of(train)}
    assert task.input_size == task.output_size == len(task.vocabulary)
    few = words(text="counted.txt", vocabulary=5)
    assert few.vocabulary == task.vocabulary[:5]
    assert set(few.codes("train").tolist()) == set(range(5))
    alike = words_of("b a <unk> c c\n" * 50)
    (folder / "alike.txt").write_text(" ".join(alike).replace("<eos>", "\n"), encoding="utf-8")
    assert words(text="alike.txt").vocabulary == ["<unk>", "c", "<eos>", "a", "b"]


def test_what_training_does_not_have_is_unknown_everywhere(folder):
    text = "a b c\n" * 900 + "a new word\n" * 100
    (folder / "new.txt").write_text(text, encoding="utf-8")
    task = words(text="new.txt")
    train, test = task.codes("train"), task.codes("test")
    if "new" in task.vocabulary:  # the cut is by characters
        assert (test != 0).all()
    later = "a b c\n" * 2000 + "a new word\n" * 30
    (folder / "later.txt").write_text(later, encoding="utf-8")
    task = words(text="later.txt")
    assert set(task.vocabulary) == {"<unk>", "a", "b", "c", "<eos>"}
    train, test = task.codes("train"), task.codes("test")
    assert (train != 0).all()
    asked = words_of(later[int(0.95 * len(later)) :])
    assert int((test == 0).sum()) == sum(one in ("new", "word") for one in asked) > 0


def test_each_lane_goes_on_where_its_batch_before_ended():
    task, lanes = words(length=9, vocabulary=10_000), 4
    text = [task.vocabulary[code] for code in task.codes("train").tolist()]
    part = len(text) // lanes
    read = [[] for _ in range(lanes)]
    for step in range(3):
        batch = task.training_batch(step, step, lanes)
        assert task.starts_over(step, lanes) == (step == 0)
        for b in range(lanes):
            inputs, targets = spelt(task, batch, b)
            assert inputs[1:] == targets[:-1]
            read[b] += inputs
    assert read == [text[b * part : b * part + 27] for b in range(lanes)]
    again = (part - 1) // 9
    assert task.starts_over(again, lanes)
    assert torch.equal(
        task.training_batch(0, again, lanes).inputs, task.training_batch(0, 0, lanes).inputs
    )


def test_evaluation_asks_for_every_word_of_its_lanes():
    task = words()
    batch = task.evaluation_set("validation", 1000)
    lane = len(task.codes("validation")) // 20
    assert batch.inputs.shape == (lane - 1, 20, task.input_size)
    pieces = list(task.evaluation_pieces("validation", 1000, 50))
    assert torch.equal(torch.cat([piece.targets for piece in pieces]), batch.targets)
    assert task.weight(batch.targets) == 20 * (lane - 1)


def test_perplexity_is_that_of_the_whole_set_and_not_a_mean_of_perplexities():
    config = {
        "task": {"name": "words", "length": 5, "vocabulary": 50},
        "cell": {"name": "rnn", "hidden_size": 4},
        "training": {"steps": 3, "evaluate_every": 3, "batch_size": 3, "test_size": 3},
    }
    pack = Pack([TrialConfig.parse(config)])
    ((point,),) = pack.train()
    found = point.metrics
    assert found["valid/perplexity"] == pytest.approx(math.exp(found["valid/loss"]))
    assert found["valid/perplexity"] < 50
    assert pack.task.baseline_metrics["perplexity"] == pytest.approx(math.exp(pack.task.baseline))


def test_the_text_of_python_has_its_exact_name():
    settings = WordsSettings()
    assert dump(settings)["text"] == pydoc_name()
    with pytest.raises(UnusableDataError, match="is not what this Python has"):
        words(text="pydoc-3.9-00000000").prepare()


PARTS = ("train", "valid", "test")


def treebank(folder, count=10_000, names="ptb.{}.txt"):
    """Files in the treebank's layout, with so many words, ``<eos>`` and ``<unk>`` included."""
    names = [names.format(part) for part in PARTS]
    spelt = [f"word{i}" for i in range(count - 2)] + ["<unk>"]
    lines = [" ".join(spelt[i : i + 20]) for i in range(0, len(spelt), 20)]
    for name in names:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f" {line} \n" for line in lines), encoding="utf-8")


@pytest.mark.parametrize("names", ["ptb.{}.txt", "ptb/ptb.{}.txt", "penn/{}.txt"])
def test_the_treebank_is_read_in_the_layouts_of_its_files(folder, names):
    treebank(folder, names=names)
    task = words(text="ptb")
    task.prepare()
    assert task.input_size == len(task.vocabulary) == 10_000
    assert task.vocabulary[:2] == ["<unk>", "<eos>"]
    lines = (folder / names.format("train")).read_text(encoding="utf-8").splitlines()
    wanted = [word for line in lines for word in (*line.split(), "<eos>")]
    assert [task.vocabulary[code] for code in task.codes("train").tolist()] == wanted


def test_what_is_known_of_the_treebank_is_known_without_it(monkeypatch):
    monkeypatch.delenv("LONGHAUL_DATA", raising=False)
    task = words(text="ptb")
    assert (task.input_size, task.length, task.protocol.batch_size) == (10_000, 20, 20)
    assert task.baseline == pytest.approx(math.log(639.3))
    assert words(text="ptb", vocabulary=2000).input_size == 2000
    with pytest.raises(MissingDataError, match=r"offline, the same job does: task: \{name: words"):
        task.prepare()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: treebank(folder, 9_000), "9,000 words; the treebank has 10,000"),
        (
            lambda folder: (folder / "ptb.test.txt").write_bytes(b"\xff\xfe\x00"),
            "is no text in UTF-8",
        ),
        (lambda folder: (folder / "ptb.valid.txt").write_text(""), "the validation text has 1 wo"),
    ],
)
def test_files_that_are_not_the_treebank_are_refused_and_leave_nothing(folder, damage, reason):
    treebank(folder)
    damage(folder)
    before = {path for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UnusableDataError, match=reason):
        words(text="ptb").prepare()
    left = {path for path in folder.rglob("*") if path.is_file()} - before
    assert not [path for path in left if path.suffix in (".arrow", ".json")]
    assert DATA_SETS.get("ptb_words").find()


@pytest.mark.parametrize("text", ["", "one", "too short a text\n"])
def test_a_text_that_asks_nothing_is_refused(folder, text):
    (folder / "short.txt").write_text(text, encoding="utf-8")
    with pytest.raises(UnusableDataError, match="short"):
        words(text="short.txt").prepare()
