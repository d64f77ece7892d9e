"""Images shown pixel by pixel, against the authors' own words for what they do."""

import math
from typing import get_args

import numpy as np
import pytest
import torch

from longhaul_trainers.data.store import open_data
from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import describe, parse
from longhaul_trainers.tasks import pixels
from longhaul_trainers.tasks.pixel_permutations import PERMUTATIONS, order_sha256
from longhaul_trainers.tasks.pixel_sources import SOURCES
from longhaul_trainers.tasks.pixels import Pixels, PixelsSettings

DRAWN_BY = {
    "numpy-0": lambda: np.random.RandomState(0).permutation(784),
    "numpy-1234": lambda: np.random.RandomState(1234).permutation(784),
    "numpy-92916": lambda: np.random.RandomState(92916).permutation(784),
    "torch-5544": lambda: torch.randperm(784, generator=torch.Generator().manual_seed(5544)),
    "torch-12008": lambda: torch.randperm(784, generator=torch.Generator().manual_seed(12008)),
}
FIRST = {
    "numpy-0": [693, 85, 647, 392],
    "numpy-92916": [319, 576, 323, 107],
    "torch-5544": [327, 72, 48, 129],
    "torch-12008": [91, 97, 471, 426],
}
# Training images, validation images, batch, steps, permutation, divisor.
PUBLISHED = {
    "chang-2019": (45_000, 5_000, 128, 50_000, None, 255),
    "erichson-2021": (58_000, 2_000, 128, 100 * 454, "torch-12008", 255),
    "helfrich-2018": (55_000, 5_000, 50, 77_000, "numpy-92916", 255),
    "keller-2024": (57_000, 3_000, 128, 53_400, None, 255),
    "kerg-2019": (50_000, 10_000, 100, 50_000, "numpy-1234", 255),
    "lezcano-2019": (55_000, 5_000, 128, 32_830, "numpy-92916", 255),
    "longhaul": (1_197, 240, 50, 3_000, "numpy-92916", 16),
    "mhammedi-2017": (55_000, 5_000, 64, 17_200, None, 256),
    "rusch-2021": (57_000, 3_000, 120, 57_000, "torch-12008", 255),
    "rusch-2021-cifar10": (47_000, 3_000, 100, 56_400, None, 255),
    "rusch-2021-unicornn": (57_000, 3_000, 32, 4_633_200, "torch-5544", 255),
    "rusch-2022": (57_000, 3_000, 128, 53_520, "torch-5544", 255),
    "voelker-2019": (50_000, 10_000, 100, 5_000, "numpy-0", 255),
    "vorontsov-2017": (50_000, 10_000, 50, 120_000, None, 256),
}


def task(**settings):
    return Pixels(parse(PixelsSettings, settings))


def coded(source):
    """One image (C, pixels) of which no two neighbours, rows or channels are alike."""
    made = SOURCES[source]
    index = np.arange(made.pixels * made.channels)
    return (index * 73 % 251).astype(np.uint8).reshape(made.channels, made.pixels)


@pytest.fixture
def fabricated(monkeypatch):
    """Data sets of the true sizes that take no memory: the same image, with labels in turn."""

    def columns(source, parts, part):
        name = next(name for name, one in SOURCES.items() if one is source)
        size = sum(source.counts if part == "train" else source.test_counts)
        images = np.broadcast_to(coded(name), (size, *coded(name).shape))
        return images, (np.arange(size) % 10).astype(np.uint8)

    monkeypatch.setattr(pixels, "open_data", lambda source: {})
    monkeypatch.setattr(pixels.ImageSource, "columns", columns)


def test_every_protocol_is_written_down_here():
    names = get_args(describe(PixelsSettings)["protocol"].type)
    assert set(PUBLISHED) == set(Pixels.protocols) == set(names)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_split_training_permutation_and_scale_as_published(name):
    made = task(protocol=name)
    train, validation = made._indices
    protocol = made.protocol
    found = (len(train), len(validation), protocol.batch_size, protocol.steps)
    assert (*found, protocol.permutation, made._scale) == PUBLISHED[name]
    assert made.training_size == len(train)
    both = np.concatenate([train, validation])
    assert (np.sort(both) == np.arange(made.settings.images.images)).all()


@pytest.mark.parametrize("name", sorted(PERMUTATIONS))
def test_a_permutation_is_the_authors_to_the_last_pixel(name):
    order = PERMUTATIONS[name].order(784)
    assert order_sha256(order) == PERMUTATIONS[name].sha256
    np.testing.assert_array_equal(order, np.asarray(DRAWN_BY[name]()))
    assert order[:4].tolist() == FIRST.get(name, order[:4].tolist())


def test_equal_seeds_of_other_generators_are_other_permutations():
    assert len({PERMUTATIONS[name].sha256 for name in PERMUTATIONS}) == len(PERMUTATIONS)
    assert (
        PERMUTATIONS["torch-5544"].order(784) != np.random.RandomState(5544).permutation(784)
    ).any()


@pytest.mark.parametrize("size", [1, 2, 64, 1024])
def test_a_torch_permutation_of_any_size_is_torchs(size):
    expected = torch.randperm(size, generator=torch.Generator().manual_seed(12008))
    np.testing.assert_array_equal(PERMUTATIONS["torch-12008"].order(size), expected.numpy())


def test_nnrnn_splits_with_the_generator_that_has_drawn_the_permutation():
    state = np.random.RandomState(1234)
    state.permutation(784)
    shuffled = state.permutation(60_000)
    train, validation = task(protocol="kerg-2019")._indices
    np.testing.assert_array_equal(train, shuffled[:50_000])
    np.testing.assert_array_equal(validation, shuffled[50_000:])


def test_scornn_trains_on_the_last_55000_images():
    train, validation = task(protocol="helfrich-2018")._indices
    assert (train[0], validation[0]) == (5_000, 0)


def test_the_papers_that_select_on_the_test_set_say_so_and_we_do_not():
    told = {name for name, protocol in Pixels.protocols.items() if protocol.selects_on_test}
    assert told == {"helfrich-2018", "lezcano-2019"}
    for name in told:
        made = task(protocol=name)
        assert "test set" in made.protocol.defects
        assert len(made._indices[1]) == 5_000


def test_pixels_are_shown_one_by_one_in_their_order(fabricated):
    batch = task(protocol="lezcano-2019").training_batch(0, 0, 2)
    expected = torch.from_numpy(coded("mnist")[0].astype(np.float32)) / 255
    assert batch.inputs.shape == (784, 2, 1)
    assert torch.equal(batch.inputs[:, 0, 0], expected)
    assert torch.equal(batch.inputs[:, 1, 0], expected)


@pytest.mark.parametrize("name", ["protocol", "torch-5544"])
def test_permuted_pixels_are_shown_in_the_named_order(fabricated, name):
    batch = task(protocol="kerg-2019", permutation=name).evaluation_set("test", 1)
    wanted = PERMUTATIONS["numpy-1234" if name == "protocol" else name].order(784)
    expected = torch.from_numpy(coded("mnist")[0][wanted].astype(np.float32)) / 255
    assert torch.equal(batch.inputs[:, 0, 0], expected)


def test_rows_are_shown_one_by_one(fabricated):
    batch = task(protocol="lezcano-2019", scan="rows").training_batch(0, 0, 2)
    assert batch.inputs.shape == (28, 2, 28)
    expected = torch.from_numpy(coded("mnist").reshape(28, 28).astype(np.float32)) / 255
    assert torch.equal(batch.inputs[:, 1], expected)


def test_a_coloured_row_is_red_then_green_then_blue_as_in_the_cornn_program(fabricated):
    batch = task(protocol="rusch-2021-cifar10").training_batch(0, 0, 2)
    image = torch.from_numpy(coded("cifar10").reshape(1, 3, 32, 32).astype(np.float32)) / 255
    published = image.permute(0, 2, 1, 3).reshape(1, 32, 96).permute(1, 0, 2)
    assert batch.inputs.shape == (1000, 2, 96)
    assert torch.equal(batch.inputs[:32, :1], published)


def test_a_coloured_pixel_is_three_numbers(fabricated):
    made = task(protocol="rusch-2021-cifar10", scan="pixels", length=1024)
    batch = made.training_batch(0, 0, 2)
    expected = torch.from_numpy(coded("cifar10").T.astype(np.float32)) / 255
    assert torch.equal(batch.inputs[:, 0], expected)


@pytest.mark.parametrize("name", ["mhammedi-2017", "vorontsov-2017"])
def test_some_divide_by_256(fabricated, name):
    batch = task(protocol=name).training_batch(0, 0, 1)
    expected = torch.from_numpy(coded("mnist")[0].astype(np.float32)) / 256
    assert torch.equal(batch.inputs[:, 0, 0], expected)


def test_lipschitz_rnn_shifts_and_scales(fabricated):
    batch = task(protocol="erichson-2021").training_batch(0, 0, 1)
    expected = (torch.from_numpy(coded("mnist")[0].astype(np.float32)) / 255 - 0.1307) / 0.3081
    torch.testing.assert_close(batch.inputs[:, 0, 0], expected)


def test_literature_noise_is_one_block_after_every_image(fabricated):
    made = task(protocol="rusch-2021-cifar10")
    train, again = (
        made.training_batch(0, 0, 3).inputs[32:],
        made.training_batch(1, 5, 2).inputs[32:],
    )
    test = made.evaluation_set("test", 2).inputs[32:]
    assert torch.equal(train[:, 0], train[:, 2])
    assert torch.equal(train[:, 0], again[:, 1])
    assert torch.equal(train[:, 0], test[:, 0])
    assert "the same after every image" in made.protocol.defects


@pytest.mark.parametrize("given", [{"protocol": "chang-2019"}, {"noise": "per_sample"}])
def test_noise_of_each_sequences_own(fabricated, given):
    made = task(**({"protocol": "rusch-2021-cifar10"} | given))
    noise = torch.cat(
        [
            made.training_batch(0, 0, 2).inputs[32:],
            made.training_batch(0, 1, 1).inputs[32:],
            made.training_batch(1, 0, 1).inputs[32:],
            made.evaluation_set("validation", 1).inputs[32:],
            made.evaluation_set("test", 1).inputs[32:],
        ],
        dim=1,
    )
    correlation = np.corrcoef(noise.transpose(0, 1).flatten(1).numpy())
    assert abs(correlation - np.eye(6)).max() < 0.02  # 93,000 numbers each
    assert abs(noise.mean()) < 0.01
    assert abs(noise.var() - 1) < 0.01


def test_no_sequence_has_the_noise_of_another(fabricated):
    noise = task(protocol="chang-2019").training_batch(0, 0, 40).inputs[32:]
    assert not (noise[:, :1] == noise[:, 1:]).all(2).any()
    rows = noise.flatten(0, 1)
    assert len(torch.unique(rows, dim=0)) > 0.85 * 16_384
    ordered = torch.sort(noise.flatten()[:200_000].double()).values
    expected = torch.special.ndtri((torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000)
    assert (ordered - expected)[1000:-1000].abs().max() < 0.03


def test_more_noise_than_there_are_rows_of_it(fabricated):
    for noise in ("fixed", "per_sample"):
        made = task(protocol="longhaul", source="mnist", scan="rows", length=20_000, noise=noise)
        shown = made.training_batch(0, 0, 1).inputs
        assert shown.shape == (20_000, 1, 28)
        assert abs(shown[28:].var() - 1) < 0.01


def test_noise_repeats_with_seed_and_step(fabricated):
    one, other = (task(protocol="chang-2019") for _ in range(2))
    other.training_batch(3, 8, 2)
    assert torch.equal(one.training_batch(3, 4, 2).inputs, other.training_batch(3, 4, 2).inputs)


def test_one_epoch_passes_every_training_image_once_and_no_other():
    made = task(source="digits")
    parts = open_data("digits")
    batches = [made.training_batch(4, step, 399) for step in range(3)]
    shown = torch.cat([batch.inputs for batch in batches], dim=1)[:, :, 0].T
    images = torch.from_numpy(parts["train"]["image"][:1197].reshape(1197, 64) / 16).float()
    assert sorted(map(tuple, shown.tolist())) == sorted(map(tuple, images.tolist()))
    held = made.evaluation_set("validation", 240).inputs[:, :, 0].T
    kept = torch.from_numpy(parts["train"]["image"][1197:].reshape(240, 64) / 16).float()
    assert sorted(map(tuple, held.tolist())) == sorted(map(tuple, kept.tolist()))


def test_no_image_is_in_two_splits():
    made = task(source="digits")
    batches = [made.training_batch(0, 0, 1197)]
    batches += [made.evaluation_set("validation", 240), made.evaluation_set("test", 360)]
    sequences = torch.cat([batch.inputs for batch in batches], dim=1)[:, :, 0].T
    assert len(torch.unique(sequences, dim=0)) == 1197 + 240 + 360


def test_an_evaluation_set_is_never_larger_than_its_split_and_not_in_the_files_order():
    made = task(source="digits")
    whole = made.evaluation_set("test", 5000)
    assert whole.inputs.shape == (64, 360, 1)
    in_order = torch.from_numpy(open_data("digits")["test"]["label"].astype(np.int64))
    assert not torch.equal(whole.targets[0], in_order)
    assert torch.equal(whole.targets[0].sort().values, in_order.sort().values)


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_counts_that_are_known_without_the_files_are_theirs(source, require_data):
    made = SOURCES[source]
    assert (sum(made.counts), len(made.counts)) == (made.images, 10)
    require_data(source)
    parts = open_data(source)
    assert np.bincount(parts["train"]["label"]).tolist() == list(made.counts)
    assert np.bincount(parts["test"]["label"]).tolist() == list(made.test_counts)


def test_baselines_need_no_file_and_have_the_published_values(monkeypatch):
    monkeypatch.delenv("LONGHAUL_DATA")
    mnist, cifar10 = task(protocol="rusch-2021"), task(protocol="chang-2019")
    assert mnist.baseline == pytest.approx(2.30116, abs=1e-5)
    assert mnist.baseline_metrics == {"accuracy": 0.1135}
    assert cifar10.baseline == pytest.approx(math.log(10))
    assert cifar10.baseline_metrics == {"accuracy": pytest.approx(0.1)}
    assert (mnist.length, mnist.input_size, mnist.output_size) == (784, 1, 10)
    assert (cifar10.length, cifar10.input_size) == (1000, 96)


def test_the_majority_class_reaches_the_stated_accuracy():
    made = task(source="digits")
    targets = made.evaluation_set("test", 360).targets
    answer = int(np.bincount(open_data("digits")["train"]["label"]).argmax())
    outputs = torch.nn.functional.one_hot(torch.full_like(targets, answer), 10).float()
    found = made.metrics(outputs, targets)["accuracy"].item()
    assert found == pytest.approx(made.baseline_metrics["accuracy"])


def test_digits_stand_in_for_other_images_with_the_generator_of_the_protocol():
    made = task(protocol="rusch-2022", source="digits", permutation="protocol")
    plain = task(protocol="rusch-2022", source="digits")
    order = torch.randperm(64, generator=torch.Generator().manual_seed(5544))
    shown, straight = (one.training_batch(0, 0, 4).inputs for one in (made, plain))
    assert torch.equal(shown, straight[order])
    assert straight.max() == 1
    assert (made.length, made.training_size, made.protocol.batch_size) == (64, 1197, 128)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"protocol": "kerg-2019", "source": "cifar10"}, "source: protocol kerg-2019 is for mnist"),
        (
            {"protocol": "chang-2019", "source": "mnist"},
            "source: protocol chang-2019 is for cifar10",
        ),
        (
            {"protocol": "mhammedi-2017", "permutation": "protocol"},
            "permutation: protocol mhammedi-2017 has none that is known; expected none or one",
        ),
        ({"protocol": "kerg-2019", "length": 783}, "length: the image takes 784 steps, found 783"),
        ({"scan": "rows", "length": 7}, "length: the image takes 8 steps, found 7"),
        ({"permutation": "numpy-9291"}, "permutation: unknown value 'numpy-9291'; did you mean"),
    ],
)
def test_what_does_not_go_together_is_refused(settings, message):
    with pytest.raises(SettingError) as caught:
        task(**settings)
    assert str(caught.value).startswith(message)


def test_our_own_protocol_takes_any_images():
    for source, size in {"mnist": 55_000, "cifar10": 45_000, "digits": 1_197}.items():
        made = task(source=source)
        assert made.training_size == size
        assert made._scale == {"digits": 16}.get(source, 255)


def test_evaluation_sets_never_change():
    made = task(source="digits", length=70)
    assert made.evaluation_hash("validation", 100) == VALIDATION_SHA256
    assert made.evaluation_hash("test", 100) == TEST_SHA256


def test_mnist_evaluation_sets_never_change(require_data):
    require_data("mnist")
    made = task(protocol="kerg-2019", permutation="protocol")
    assert made.evaluation_hash("test", 500) == MNIST_TEST_SHA256


# Recorded once. A change here means that no earlier result can be compared with a later one.
VALIDATION_SHA256 = "f65c67afb79be4c56899995beb5657b280e1fbeae297e604e606c7d2e911ed15"
TEST_SHA256 = "463f558b4455d36ec24fc110b86d2697e14b5ab98f20f301775908b253b17186"
MNIST_TEST_SHA256 = "11aeea3cd49ab46393c497a20b1768b3d0d4dd700f794fb4cb1e2f62ec5ad8ae"


def test_real_digits_are_learnt_by_a_linear_classifier_of_all_pixels(require_data):
    """Labels go with their images: the raw pixels of MNIST are 92 % separable, not 10 %."""
    require_data("mnist")
    made = task(protocol="lezcano-2019", permutation="protocol")
    train, test = made.training_batch(0, 0, 4000), made.evaluation_set("validation", 1000)
    inputs = train.inputs[:, :, 0].T.double()
    wanted = torch.nn.functional.one_hot(train.targets[0], 10).double()
    ridge = inputs.T @ inputs + 10 * torch.eye(784, dtype=torch.float64)
    weights = torch.linalg.solve(ridge, inputs.T @ wanted)
    outputs = (test.inputs[:, :, 0].T.double() @ weights).unsqueeze(0)
    assert made.metrics(outputs, test.targets)["accuracy"] > 0.8
