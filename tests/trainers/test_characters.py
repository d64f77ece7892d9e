"""Language models of characters against the text itself, and lanes against the whole."""

import hashlib
import math
from pydoc_data.topics import topics

import numpy as np
import pytest
import torch

from longhaul_trainers.data.known import DATA_SETS
from longhaul_trainers.data.store import open_data
from longhaul_trainers.data.texts import PTB, pydoc_name, read_three
from longhaul_trainers.errors import MissingDataError, UnusableDataError
from longhaul_trainers.settings import dump, parse
from longhaul_trainers.tasks import evaluation_hash
from longhaul_trainers.tasks.base import IGNORED
from longhaul_trainers.tasks.characters import Characters, CharactersSettings

TEXT = "".join(topics[name] for name in sorted(topics))
CUTS = [int(0.9 * len(TEXT)), int(0.95 * len(TEXT))]
PARTS = dict(
    zip(
        ("train", "validation", "test"),
        (TEXT[: CUTS[0]], TEXT[slice(*CUTS)], TEXT[CUTS[1] :]),
        strict=True,
    )
)


def characters(protocol="windows", **settings):
    return Characters(CharactersSettings(protocol=protocol, **settings))


# No stretch of it comes twice, so that a stretch tells where it stands.
NUMBERS = "".join(f"{i:04d}{' ' if i % 7 else chr(10)}" for i in range(4000))
TRAIN = NUMBERS[: int(0.9 * len(NUMBERS))]


@pytest.fixture
def numbers(tmp_path, monkeypatch):
    """The name of a text of 20,000 characters in a user's folder."""
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path))
    (tmp_path / "numbers.txt").write_text(NUMBERS, encoding="utf-8")
    return "numbers.txt"


def spelt(task, codes):
    return "".join(task.symbols[code] for code in codes if code != IGNORED)


def inputs(task, batch, b):
    return spelt(task, batch.inputs[:, b].argmax(1).tolist())


def targets(task, batch, b):
    return spelt(task, batch.targets[:, b].tolist())


def test_the_text_that_comes_with_python_is_named_by_version_and_content():
    settings = CharactersSettings(text="pydoc")
    assert settings.text == pydoc_name()
    assert settings.text.startswith("pydoc-3.")
    assert len(settings.text.rpartition("-")[2]) == 8
    assert dump(settings)["text"] == pydoc_name()
    assert parse(CharactersSettings, {"text": pydoc_name()}) == settings
    assert pydoc_name() in Characters(settings).example()


def test_the_text_of_another_python_is_refused_by_name():
    with pytest.raises(
        UnusableDataError, match=r"'pydoc-3\.9-00000000' is not what this Python has"
    ):
        characters(text="pydoc-3.9-00000000").prepare()


def test_symbols_are_those_of_the_whole_text():
    task = characters()
    assert task.symbols == "".join(sorted(set(TEXT)))
    assert task.input_size == task.output_size == len(set(TEXT))


def test_baseline_is_the_entropy_of_the_frequencies():
    # 4.60 bits on the text of Python 3.11; another one's is near.
    assert characters().baseline / math.log(2) == pytest.approx(4.6, abs=0.1)
    assert characters().baseline_metrics["bits_per_character"] == pytest.approx(4.6, abs=0.1)


def test_bits_are_the_loss_over_ln_2():
    means = {"loss": torch.tensor([math.log(2), 2.0]), "accuracy": torch.zeros(2)}
    assert characters().summary(means)["bits_per_character"].tolist() == pytest.approx(
        [1, 2.885390]
    )


@pytest.mark.parametrize("protocol", ["windows", "kerg-2019"])
def test_each_target_is_the_next_input(protocol):
    task = characters(protocol, length=20)
    batch = task.training_batch(1, 3, 7)
    assert set(batch.inputs.unique().tolist()) == {0, 1}
    assert (batch.inputs.sum(2) == 1).all()
    for b in range(7):
        read, asked = inputs(task, batch, b), targets(task, batch, b)
        assert read[1:] == asked[:-1]
        assert read + asked[-1] in PARTS["train"]


def test_an_epoch_of_windows_overlaps_nowhere(numbers):
    task = characters(text=numbers, length=100)
    count = task.training_size
    assert count == (len(TRAIN) - 100) // 100
    beginnings = set()
    for epoch in range(3):
        batch = task.training_batch(5, epoch, count)
        starts = [TRAIN.index(inputs(task, batch, b)) for b in range(count)]
        assert starts != sorted(starts)
        assert np.diff(sorted(starts)).tolist() == [100] * (count - 1)
        beginnings.add(min(starts))
    assert len(beginnings) > 1
    assert all(0 <= beginning < 100 for beginning in beginnings)


@pytest.mark.parametrize("size", [2, 7])
def test_windows_do_not_depend_on_how_epochs_are_cut_into_batches(numbers, size):
    task = characters(text=numbers, length=100)
    step = task.training_size // size  # an epoch ends in its batch
    assert task.training_size % size
    batch = task.training_batch(2, step, size)
    singles = [task.training_batch(2, step * size + b, 1) for b in range(size)]
    assert torch.equal(batch.inputs, torch.cat([one.inputs for one in singles], dim=1))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_windows_measure_all_of_the_text_that_fills_them(split):
    task = characters(length=100)
    batch = task.evaluation_set(split, 10**6)
    count = (len(PARTS[split]) - 1) // 100
    wanted = {PARTS[split][100 * k + 1 : 100 * k + 101] for k in range(count)}
    found = [targets(task, batch, b) for b in range(count)]
    assert batch.targets.shape[1] == count
    assert set(found) == wanted


def test_lanes_are_equal_parts_of_the_text_passed_to_their_ends(numbers):
    task = characters("kerg-2019", text=numbers, length=40)
    lanes, lane = 6, len(TRAIN) // 6
    batches = (lane - 1) // 40
    read = [""] * lanes
    for step in range(batches):
        batch = task.training_batch(0, step, lanes)
        read = [before + inputs(task, batch, b) for b, before in enumerate(read)]
    for b, text in enumerate(read):
        assert text == TRAIN[lane * b : lane * b + 40 * batches]
    again = task.training_batch(0, batches, lanes)
    assert torch.equal(again.inputs, task.training_batch(0, 0, lanes).inputs)


def test_state_starts_over_with_each_epoch_of_lanes_and_never_within(numbers):
    task = characters("kerg-2019", text=numbers, length=40)
    assert task.carries_state
    for lanes in (6, 50):
        batches = (len(TRAIN) // lanes - 1) // 40
        steps = range(2 * batches + 2)
        found = [step for step in steps if task.starts_over(step, lanes)]
        assert found == [0, batches, 2 * batches]
    for protocol in ("windows", "vorontsov-2017"):
        assert not characters(protocol).carries_state
        assert characters(protocol).starts_over(3, 8)


def test_lanes_are_the_same_for_every_seed_as_published():
    task = characters("kerg-2019")
    assert torch.equal(task.training_batch(1, 4, 8).inputs, task.training_batch(2, 4, 8).inputs)
    assert "same" in task.protocol.defects


def test_lanes_of_an_evaluation_set_are_whole():
    task = characters("kerg-2019")
    batch = task.evaluation_set("validation", 500)
    lane = len(PARTS["validation"]) // 10
    assert batch.targets.shape == (lane - 1, 10)
    for b in range(10):
        assert inputs(task, batch, b) == PARTS["validation"][lane * b : lane * (b + 1) - 1]


@pytest.mark.parametrize("steps", [1, 7, 10**9])
@pytest.mark.parametrize("protocol", ["kerg-2019", "windows"])
def test_the_pieces_of_an_evaluation_set_make_it_up(protocol, steps):
    task = characters(protocol)
    whole = task.evaluation_set("test", 6)
    pieces = list(task.evaluation_pieces("test", 6, steps))
    assert torch.equal(torch.cat([piece.inputs for piece in pieces]), whole.inputs)
    assert torch.equal(torch.cat([piece.targets for piece in pieces]), whole.targets)
    assert {len(piece.targets) for piece in pieces[:-1]} <= {steps}


def test_a_long_set_hashes_as_if_it_were_in_memory(monkeypatch):
    task = characters("kerg-2019")
    found = []
    for steps in (5, 10**9):
        monkeypatch.setattr(evaluation_hash, "HASHED_STEPS", steps)
        found.append(task.evaluation_hash("validation", 10))
    whole = task.evaluation_set("validation", 10)
    digest = hashlib.sha256()
    for numbers, kind in ((whole.inputs, "<f4"), (whole.targets, "<i8")):
        digest.update(f"{kind}{tuple(numbers.shape)}".encode())
        digest.update(numbers.numpy().astype(kind).tobytes())
    assert found == [digest.hexdigest()] * 2


def test_a_text_too_short_for_the_lanes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path))
    (tmp_path / "short.txt").write_text("abcd" * 90, encoding="utf-8")
    with pytest.raises(UnusableDataError, match="10 lanes of its test part"):
        characters("kerg-2019", text="short.txt").evaluation_set("test", 10)


@pytest.mark.parametrize("most", [20, 33, 34])
def test_lines_are_sequences_and_long_ones_are_left_out(most, tmp_path, monkeypatch):
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path))
    text = "\n".join("x" * 7 + "abc" * (n % 12) for n in range(240))
    (tmp_path / "x.txt").write_text(text, encoding="utf-8")
    task = characters("vorontsov-2017", text="x.txt", length=most)
    train = text[: int(0.9 * len(text))]
    lines = [line for line in train.split("\n") if 2 <= len(line) <= most]
    assert task.training_size == len(lines)
    assert task.length == most - 1
    epoch = task.training_batch(0, 0, len(lines))
    asked = sorted(targets(task, epoch, b) for b in range(len(lines)))
    assert asked == sorted(line[1:] for line in lines)
    assert task.weight(epoch.targets) == sum(len(line) - 1 for line in lines)
    assert (epoch.inputs.sum(2) == (epoch.targets != IGNORED)).all()


# All characters that the treebank has, each at least once.
TREEBANK = {
    "train": " no it was n't black monday \n but while the <unk> N times\n",
    "valid": " the quick brown fox jumps over a lazy dog & co. $ N\n",
    "test": " a b c \n # * / \\ - ' 0 1 2 3 4 5 6 7 8 9 \n",
}


def spaced(text):
    """The same, a character a token, as in the other files of the treebank."""
    lines = [" ".join("_" if c == " " else c for c in line.strip()) for line in text.splitlines()]
    return "".join(f" {line} \n" for line in lines)


def test_both_files_of_the_treebank_give_the_same_text(tmp_path):
    files = {}
    for form, change in (("ptb.{}.txt", str), ("ptb.char.{}.txt", spaced)):
        files[form] = [tmp_path / form.format(kind) for kind in TREEBANK]
        for file, text in zip(files[form], TREEBANK.values(), strict=True):
            file.write_text(change(text), encoding="utf-8")
    words, letters = (read_three(found) for found in files.values())
    symbols = [chr(point) for point in words["symbols"]["code_points"]]
    for part in ("train", "validation", "test"):
        assert np.array_equal(words[part]["codes"], letters[part]["codes"])
    text = "".join(symbols[code] for code in words["train"]["codes"])
    assert text == "no it was n't black monday\nbut while the <unk> N times\n"


def test_another_number_of_symbols_is_not_the_treebank(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path))
    for kind, text in TREEBANK.items():
        (tmp_path / f"ptb.{kind}.txt").write_text(text.replace("$", ""), encoding="utf-8")
    with pytest.raises(
        UnusableDataError, match="49 symbols; the characters of the treebank are 50"
    ):
        open_data("ptb")


def test_what_is_known_of_the_treebank_without_its_files(monkeypatch):
    monkeypatch.delenv("LONGHAUL_DATA")
    task = characters("kerg-2019", text="ptb")
    assert (task.input_size, task.length) == (50, 150)
    assert task.baseline / math.log(2) == pytest.approx(4.346)
    with pytest.raises(MissingDataError, match="text: pydoc"):
        task.prepare()
    assert DATA_SETS.get("ptb") is PTB


def test_any_text_is_split_in_90_5_and_5_per_cent(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path))
    text = "ein Käfer, zwei Käfer\r\n" * 40
    (tmp_path / "bugs.txt").write_bytes(text.encode())
    task = characters(text="bugs.txt", length=5)
    plain = text.replace("\r\n", "\n")
    assert task.symbols == "".join(sorted(set(plain)))
    sizes = [len(open_data(task.data_set)[part]["codes"]) for part in PARTS]
    assert sizes == [792, 44, 44]
    assert task.evaluation_set("test", 99).targets.shape == (5, 8)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xff\xfe a \x00", "no text in UTF-8"),
        (b"short", "the train text has|the validation text has"),
    ],
)
def test_a_file_that_is_no_text_is_refused(content, problem, tmp_path, monkeypatch):
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path))
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(UnusableDataError, match=problem):
        characters(text="x.txt").prepare()


@pytest.mark.parametrize(
    ("protocol", "problem"),
    [
        ("windows", "no window"),
        ("kerg-2019", "no sequence for each of 8 lanes"),
        ("vorontsov-2017", "no line of 2 to 75"),
    ],
)
def test_a_text_too_short_for_the_protocol_is_refused(protocol, problem, tmp_path, monkeypatch):
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path))
    (tmp_path / "x.txt").write_text("abc " * 60, encoding="utf-8")
    with pytest.raises(UnusableDataError, match=problem):
        characters(protocol, text="x.txt").training_batch(0, 0, 8)
