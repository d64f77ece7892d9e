"""The forms in which MNIST, CIFAR-10 and the digits come, and what is wrong with other files."""

import gzip
import hashlib
import pickle
import struct

import numpy as np
import pytest
from sklearn.datasets import load_digits

from longhaul_trainers.counter import Stream
from longhaul_trainers.data import cifar10, digits, mnist, store
from longhaul_trainers.data.columns import content_sha256
from longhaul_trainers.data.store import open_data, status
from longhaul_trainers.errors import MissingDataError, UnusableDataError

TRAIN, TEST = 30, 20


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty data folder for data sets of fewer images than there are."""
    monkeypatch.setattr(store, "_opened", {})
    monkeypatch.setitem(mnist.SIZES, "train", TRAIN)
    monkeypatch.setitem(mnist.SIZES, "test", TEST)
    monkeypatch.setattr(cifar10, "_RECORDS", 10)
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path))
    return tmp_path


def images(size, *shape):
    words = Stream("images").words(size, int(np.prod(shape)))
    return (words & np.uint64(255)).astype(np.uint8).reshape(size, *shape)


def labels(size):
    return (np.arange(size) * 7 % 10).astype(np.uint8)


def npz(folder, **changes):
    arrays = {
        "x_train": images(TRAIN, 784),
        "y_train": labels(TRAIN),
        "x_test": images(TEST, 784),
        "y_test": labels(TEST),
    }
    np.savez(folder / "mnist.npz", **{k: v for k, v in (arrays | changes).items() if v is not None})


def idx(folder, ending="", **changes):
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "train-images-idx3-ubyte": struct.pack(">IIII", 2051, TRAIN, 28, 28)
        + images(TRAIN, 784).tobytes(),
        "train-labels-idx1-ubyte": struct.pack(">II", 2049, TRAIN) + labels(TRAIN).tobytes(),
        "t10k-images-idx3-ubyte": struct.pack(">IIII", 2051, TEST, 28, 28)
        + images(TEST, 784).tobytes(),
        "t10k-labels-idx1-ubyte": struct.pack(">II", 2049, TEST) + labels(TEST).tobytes(),
    }
    for name, data in (files | changes).items():
        (folder / f"{name}{ending}").write_bytes(gzip.compress(data) if ending else data)


def check_mnist(parts):
    for part, size in (("train", TRAIN), ("test", TEST)):
        np.testing.assert_array_equal(parts[part]["image"].reshape(size, 784), images(size, 784))
        np.testing.assert_array_equal(parts[part]["label"], labels(size))
        assert parts[part]["image"].shape == (size, 28, 28)
        assert parts[part]["image"].dtype == parts[part]["label"].dtype == np.uint8


@pytest.mark.filterwarnings("ignore::longhaul_trainers.errors.DataWarning")
class TestMnist:
    @pytest.mark.parametrize("shape", [(784,), (28, 28)])
    @pytest.mark.parametrize("kind", [np.uint8, np.int64])
    def test_npz(self, folder, shape, kind):
        npz(
            folder,
            x_train=images(TRAIN, *shape),
            x_test=images(TEST, *shape),
            y_train=labels(TRAIN).astype(kind),
        )
        check_mnist(open_data("mnist"))

    @pytest.mark.parametrize("place", ["", "MNIST/raw", "mnist"])
    @pytest.mark.parametrize("ending", ["", ".gz"])
    def test_idx(self, folder, place, ending):
        idx(folder / place, ending)
        check_mnist(open_data("mnist"))

    def test_the_form_does_not_change_the_content(self, folder):
        npz(folder)
        first = content_sha256(open_data("mnist"))
        (folder / "mnist.npz").unlink()
        idx(folder, ".gz")
        assert content_sha256(open_data("mnist")) == first

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"y_test": None}, "no key 'y_test'; found x_train, y_train, x_test"),
            ({"x_train": images(TRAIN - 1, 784)}, "the train images are (29, 784); expected (30, "),
            ({"x_test": images(TEST, 28, 27)}, "the test images are (20, 28, 27)"),
            ({"x_train": images(TRAIN, 784) / 255}, "are float64; expected uint8, 0 to 255"),
            ({"y_train": labels(TRAIN)[1:]}, "the train labels are uint8 (29,); expected whole"),
            ({"y_train": np.eye(10)[labels(TRAIN)]}, "the train labels are float64 (30, 10)"),
            ({"y_test": labels(TEST) + 1}, "the test labels go from 1 to 10, not 0 to 9"),
            ({"x_train": np.array([{}] * TRAIN)}, "Object arrays cannot be loaded"),
        ],
    )
    def test_npz_of_something_else(self, folder, changes, said):
        npz(folder, **changes)
        with pytest.raises(UnusableDataError) as caught:
            open_data("mnist")
        assert said in str(caught.value)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"train-images-idx3-ubyte": b"\0\0\10"}, "train-images-idx3-ubyte ends within its he"),
            ({"t10k-images-idx3-ubyte": bytes(16)}, "begins with 0; idx images with 2051"),
            ({"t10k-labels-idx1-ubyte": bytes(12)}, "begins with 0; idx labels with 2049"),
            (
                {"train-labels-idx1-ubyte": struct.pack(">II", 2049, TRAIN) + bytes(29)},
                "train-labels-idx1-ubyte holds 29 values; its header says 30",
            ),
            (
                {"train-images-idx3-ubyte": struct.pack(">IIII", 2051, 2, 28, 28) + bytes(1568)},
                "the train images are (2, 28, 28)",
            ),
        ],
    )
    def test_idx_of_something_else(self, folder, changes, said):
        idx(folder, **changes)
        with pytest.raises(UnusableDataError) as caught:
            open_data("mnist")
        assert said in str(caught.value)

    def test_torn_gzip(self, folder):
        idx(folder, ".gz")
        torn = folder / "train-images-idx3-ubyte.gz"
        torn.write_bytes(torn.read_bytes()[:-100])
        with pytest.raises(UnusableDataError, match="not usable as the four idx files"):
            open_data("mnist")


def write_cifar10(folder, **changes):
    folder.mkdir()
    names = [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]
    for number, name in enumerate(names):
        records = images(60, 3073)[10 * number : 10 * number + 10]
        records[:, 0] = (np.arange(10) + number) % 10
        (folder / name).write_bytes(changes.get(name, records.tobytes()))


class TestCifar10:
    def test_binary_version(self, folder):
        write_cifar10(folder / "cifar-10-batches-bin")
        parts = open_data("cifar10")
        assert parts["train"]["image"].shape == (50, 3, 32, 32)
        np.testing.assert_array_equal(
            parts["train"]["image"].reshape(50, -1), images(60, 3073)[:50, 1:]
        )
        np.testing.assert_array_equal(
            parts["test"]["image"].reshape(10, -1), images(60, 3073)[50:, 1:]
        )
        assert parts["train"]["label"][10:13].tolist() == [1, 2, 3]
        assert parts["test"]["label"][:3].tolist() == [5, 6, 7]

    def test_the_record_is_red_green_blue_each_row_by_row(self, folder):
        record = np.zeros((10, 3073), dtype=np.uint8)
        record[:, 1 + 1024 + 2 * 32 + 5] = 200  # green, row 2, column 5
        write_cifar10(folder / "cifar-10-batches-bin", **{"test_batch.bin": record.tobytes()})
        image = open_data("cifar10")["test"]["image"][0]
        assert np.argwhere(image).tolist() == [[1, 2, 5]]

    @pytest.mark.parametrize("name", ["cifar-10-batches-py", "data_batch_1"])
    def test_pickles_are_refused_with_the_reason(self, folder, name):
        (folder / name).mkdir()
        with pytest.raises(MissingDataError) as caught:
            open_data("cifar10")
        assert "never loaded, since loading one runs whatever is in it" in str(caught.value)
        assert "cifar-10-binary.tar.gz" in str(caught.value)

    def test_a_pickle_under_the_name_of_a_binary_file_is_not_run(self, folder):
        class Trap:
            def __reduce__(self):
                return exec, ("open('trap', 'w')",)

        write_cifar10(folder / "cifar-10-batches-bin", **{"test_batch.bin": pickle.dumps(Trap())})
        with pytest.raises(UnusableDataError, match=r"test_batch\.bin has \d+ bytes; expected 10"):
            open_data("cifar10")

    def test_labels_out_of_range(self, folder):
        write_cifar10(folder / "cifar-10-batches-bin", **{"test_batch.bin": b"\x0b" * 30730})
        with pytest.raises(UnusableDataError, match=r"test_batch\.bin has label 11"):
            open_data("cifar10")


class TestDigits:
    def test_they_are_scikit_learns(self):
        parts, expected = open_data("digits"), load_digits()
        assert {part: len(table["image"]) for part, table in parts.items()} == digits.SIZES
        joined = np.concatenate([parts["train"]["image"], parts["test"]["image"]])
        np.testing.assert_array_equal(joined, expected.images)
        joined = np.concatenate([parts["train"]["label"], parts["test"]["label"]])
        np.testing.assert_array_equal(joined, expected.target)

    def test_their_content_is_known(self):
        assert status("digits", verify=True).official is True

    def test_without_scikit_learn_it_is_said_where_they_come_from(self, monkeypatch):
        monkeypatch.setattr(store, "_opened", {})
        monkeypatch.setattr(digits, "find_spec", lambda _: None)
        with pytest.raises(MissingDataError, match="pip install scikit-learn"):
            open_data("digits")
        assert status("digits", verify=True).state == "missing"

    def test_another_file_in_its_place_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr(store, "_opened", {})
        monkeypatch.setattr(digits, "_file", lambda: tmp_path / "digits.csv.gz")
        with gzip.open(tmp_path / "digits.csv.gz", "wt") as file:
            file.write("1,2,3\n")
        with pytest.raises(UnusableDataError, match=r"expected \(1797, 65\)"):
            open_data("digits")
        (tmp_path / "digits.csv.gz").write_bytes(b"torn")
        with pytest.raises(UnusableDataError, match="cannot be read"):
            open_data("digits")


# Of the four files of LeCun, Cortes and Burges, unpacked, as many mirrors publish them.
OFFICIAL = {
    "train": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "test": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}


def test_what_is_known_as_mnist_is_the_official_one(require_data):
    require_data("mnist")
    parts = open_data("mnist")
    found = status("mnist", verify=True)
    if not found.official:
        pytest.skip("the MNIST that is here is another")
    assert found.problem == ""
    for part, (image_sha256, label_sha256) in OFFICIAL.items():
        image, label = parts[part]["image"], parts[part]["label"]
        images_file = struct.pack(">IIII", 2051, len(image), 28, 28) + image.tobytes()
        labels_file = struct.pack(">II", 2049, len(label)) + label.tobytes()
        assert hashlib.sha256(images_file).hexdigest() == image_sha256
        assert hashlib.sha256(labels_file).hexdigest() == label_sha256
