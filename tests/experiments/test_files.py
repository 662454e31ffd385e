"""IDX files of any content end in arrays or in one sentence, soon and without filling the memory."""

import gzip
import re

import numpy as np
import pytest

from experiments import data
from experiments.common import memory, regular_file
from experiments.common.errors import UserError
from experiments.data import gz, idx
from tests.experiments.hostile import NO_FILES, nowhere, pipe, powerless, spoiled, within
from tests.experiments.idx_files import IMAGES, LABELS, header, write_folder, write_idx

MOST = 2**32 - 1


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path)


CONTENTS = {
    "rank 0": (header("u1"), "declares 0 axes; expected 1 to 64"),
    "rank 65": (header("u1", *[1] * 65) + b"x", "declares 65 axes; expected 1 to 64"),
    "rank 255": (b"\0\0\x08\xff", "declares 255 axes"),
    "no values, too large": (header("u1", 0, MOST, MOST), r"shape \(0, 4294967295, 4294967295\), which no"),
    "no values, too large once converted": (header("u1", 0, 2**31, 2**31), "which no array can have"),
    "product overflows": (header("u1", MOST, MOST, MOST) + b"x", f"truncated: .* needs {MOST**3 + 16} bytes"),
    "product overflows to what is there": (header("u1", 2**31, 2**31, 4), "is truncated: .* it has 16"),
    "more than is there": (header(">f8", 30, 3, 4), "needs 2896 bytes, it has 16"),
    "one byte more": (header("u1", 1, 1) + b"xx", "is too long: .* needs 13 bytes"),
    "unknown type": (b"\0\0\x0a\x01\0\0\0\1x", "is not an IDX file"),
    "empty": (b"", "is not an IDX file"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_headers_that_no_array_has(tmp_path, name, suffix):
    content, message = CONTENTS[name]
    path = tmp_path / f"x{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    if suffix and "product" in name:
        message = r"declares \d+ bytes, more than the memory"
    with within(2, megabytes=2), pytest.raises(UserError, match=message):
        idx.read(path)


def test_largest_rank(tmp_path):
    write_idx(tmp_path / "x", np.arange(6).reshape(2, 3, *[1] * 62))
    assert np.array_equal(idx.read(tmp_path / "x").reshape(-1), np.arange(6))


def test_file_as_large_as_it_says_and_larger_than_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "physical", lambda: 10**6)
    for path in (tmp_path / "x", tmp_path / "x.gz"):
        write_idx(path, np.zeros((1000, 1000)))
        with within(2, megabytes=2), pytest.raises(UserError, match="1000012 bytes, more than the memory"):
            idx.read(path)


def test_memory_of_this_machine():
    assert 2**28 < memory.physical() < 2**50


GOOD = gzip.compress(header("u1", 2, 3) + b"abcdef")
GZIPPED = {
    "bomb": (gzip.compress(header("u1", 2, 3) + bytes(10**8)), "is too long: .* needs 18 bytes, it has more"),
    "bomb of many": (GOOD + gzip.compress(bytes(10**7)) * 10, "is too long"),
    "truncated": (GOOD[:-9], "cannot be read: Compressed file ended"),
    "without its checksum": (GOOD[:-8], "cannot be read: Compressed file ended"),
    "wrong checksum": (GOOD[:-8] + b"\0" * 4 + GOOD[-4:], "cannot be read: .*incorrect data check"),
    "wrong length": (GOOD[:-1] + b"\1", "cannot be read: .*incorrect length check"),
    "trailing garbage": (GOOD + b"more", "something else follows its gzip data"),
    "trailing byte": (GOOD + b"m", "something else follows its gzip data"),
    "not gzip": (b"\0\0\x08\x01\0\0\0\1x", "it is not a gzip file"),
    "half a magic number": (b"\x1f", "it is not a gzip file"),
    "magic number alone": (b"\x1f\x8b", "cannot be read: Compressed file ended"),
    "empty file": (b"", "it is not a gzip file"),
    "spoiled": (GOOD[:11] + b"\xff\xff" + GOOD[13:], "cannot be read: Error -3"),
}


@pytest.mark.parametrize("name", GZIPPED)
def test_bad_gzip(tmp_path, name):
    content, message = GZIPPED[name]
    (tmp_path / "x.gz").write_bytes(content)
    with (
        within(2, megabytes=2),
        pytest.raises(UserError, match=f"x.gz {message}|x.gz cannot be read: {message}"),
    ):
        idx.read(tmp_path / "x.gz")


def test_several_gzip_streams_are_one(tmp_path):
    whole = header("u1", 300, 300) + np.random.default_rng(0).bytes(300 * 300)
    streams = [gzip.compress(whole[a:b]) for a, b in [(0, 3), (3, 3), (3, 70_000), (70_000, None)]]
    (tmp_path / "x.gz").write_bytes(b"".join(streams))
    assert idx.read(tmp_path / "x.gz").tobytes() == whole[12:]


@pytest.mark.parametrize("most", [0, 1, 99_999, 100_000, 100_001])
def test_no_more_is_inflated_than_asked(tmp_path, most):
    content = np.random.default_rng(0).bytes(1000) * 100
    (tmp_path / "x").write_bytes(gzip.compress(content) + gzip.compress(b"") + gzip.compress(b"x" * 50))
    with regular_file.opened(tmp_path / "x") as file:
        assert gz.first(file, most) == (content + b"x" * 50)[:most]


@pytest.mark.parametrize("make", NO_FILES)
@pytest.mark.parametrize("name", [IMAGES, LABELS])
def test_no_file(folder, make, name):
    (folder / name).unlink()
    make(folder / name)
    with within(2, megabytes=2), pytest.raises(UserError, match=f"{name} cannot be read: {NO_FILES[make]}"):
        data.load("digits", folder)


def test_link_to_a_file_is_followed_and_one_to_nowhere_is_no_file(folder):
    (folder / IMAGES).rename(folder / "elsewhere")
    (folder / IMAGES).symlink_to("elsewhere")
    assert data.load("digits", folder).classes == 3
    (folder / IMAGES).unlink()
    nowhere(folder / IMAGES)
    with pytest.raises(UserError, match=f"has neither {IMAGES} nor {IMAGES}.gz"):
        data.load("digits", folder)


def test_plain_file_is_read_where_both_are_there(folder):
    write_idx(folder / LABELS.removesuffix(".gz"), np.arange(30) % 5)
    (folder / LABELS).write_bytes(b"spoiled")
    write_idx(folder / "t10k-images-idx3-ubyte.gz", np.zeros((9, 5, 5)))
    assert data.load("digits", folder).classes == 5


def test_what_may_not_be_read(folder):
    with powerless(), pytest.raises(UserError, match=r"--data-dir .* cannot be read: Permission denied"):
        data.load("digits", folder)
    with powerless(), pytest.raises(UserError, match=f"{IMAGES} cannot be read: Permission denied"):
        idx.read(folder / IMAGES)


@pytest.mark.parametrize("make", [pipe, nowhere])
def test_data_folder_that_is_none(tmp_path, make):
    make(tmp_path / "x")
    with within(2, megabytes=2), pytest.raises(UserError, match=r"--data-dir was .*x; expected a folder"):
        data.load("digits", tmp_path / "x")


@pytest.mark.parametrize("name", ["daten-äöü-数据-🎲", "two words", "percent%s{0}"])
def test_names_of_any_letters(tmp_path, name):
    (tmp_path / name).mkdir()
    assert data.load("digits", write_folder(tmp_path / name)).classes == 3
    (tmp_path / name / IMAGES).write_bytes(b"no")
    with pytest.raises(UserError) as caught:
        data.load("digits", tmp_path / name)
    assert f"{name}/{IMAGES} is not an IDX file" in str(caught.value)


def images(value, dtype=">f8", shape=(30, 3, 4)):
    array = np.zeros(shape)
    array[4, 1, 2] = value
    return IMAGES, array, dtype


def labels(value, dtype=">i4"):
    array = np.arange(30) % 3
    array[7] = value
    return LABELS, array, dtype


VALUES = {
    "too large": (images(1e300), "a value too large for float32: 1e.300 in feature 6 of example 4"),
    "too small": (images(-1e39), "a value too large for float32: -1e.39 in feature 6 of example 4"),
    "infinite": (images(-np.inf), "not finite: -inf in feature 6 of example 4"),
    "not a number": (images(np.nan, ">f4"), "not finite: nan in feature 6 of example 4"),
    "two billion classes": (labels(2_000_000_000), "example 7 is 2000000000, but only 4 labels occur"),
    "classes of two bytes": (labels(32_767, ">i2"), "label of example 7 is 32767, but only 4 labels occur"),
    "more than few": (labels(256), "label of example 7 is 256, but only 4 labels occur"),
    "negative label": (labels(-(2**31)), "label of example 7 is -2147483648; expected 0 to 2"),
    "half a label": (labels(0.5, ">f4"), "labels have dtype float32; expected integers"),
    "no features": ((IMAGES, np.zeros((30, 0, 4)), "u1"), r"images have shape \(0, 4\); expected at least"),
    "no examples": ((IMAGES, np.zeros((0, 3, 4)), "u1"), "training data has no examples"),
    "labels of two axes": ((LABELS, np.zeros((30, 1)), "u1"), r"array of shape \(30, 1\); expected one axis"),
    "other count": ((LABELS, np.zeros(31), "u1"), "training data has 30 images but 31 labels"),
    "turned images": ((IMAGES, np.zeros((30, 4, 3)), "u1"), r"have shape \(4, 3\), the test images \(3, 4\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_bad_values(folder, name):
    (file, array, dtype), message = VALUES[name]
    write_idx(folder / file, array, dtype)
    with within(2, megabytes=2), pytest.raises(UserError, match=message):
        data.load("digits", folder, "float32")


def test_largest_values_that_are_good(folder):
    write_idx(folder / IMAGES, *images(3e38)[1:])
    write_idx(folder / LABELS, *labels(255)[1:])
    dataset = data.load("digits", folder, "float32")
    assert dataset.classes == 256
    assert dataset.train.x.dtype == dataset.test.x.dtype == np.float32
    assert dataset.train.x.max() == np.float32(3e38)
    assert data.load("digits", folder, "float64").train.x.max() == 3e38
    with pytest.raises(UserError, match="too large for float16"):
        data.load("digits", folder, "float16")


def test_many_classes_with_examples_are_good(folder):
    write_idx(folder / LABELS, np.arange(30) % 3)
    write_idx(folder / IMAGES, np.zeros((600, 3, 4)))
    write_idx(folder / LABELS, np.arange(600), ">i2")
    assert data.load("digits", folder).classes == 600


def test_bytes_are_scaled_as_by_division(folder):
    raw = idx.read(folder / IMAGES)
    for dtype in ("float32", "float64"):
        assert np.array_equal(data.load("digits", folder, dtype).train.x, (raw / 255).astype(dtype))


def load_spoiled(folder, seed):
    """The data set with one of its files spoiled, within or outside of its gzip stream; None if refused."""
    name = [IMAGES, LABELS, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte.gz"][seed % 4]
    good = (folder / name).read_bytes()
    inside = name.endswith(".gz") and seed % 8 > 3
    bad = gzip.compress(spoiled(gzip.decompress(good), seed, 16)) if inside else spoiled(good, seed, 16)
    (folder / name).write_bytes(bad)
    with within(2, megabytes=3):
        dataset, sentence = None, ""
        try:
            dataset = data.load("digits", folder, "float32")
        except UserError as error:
            sentence = str(error)
    (folder / name).write_bytes(good)
    if dataset is not None:
        y = np.concatenate([dataset.train.y, dataset.test.y])
        assert np.all(np.isfinite(dataset.train.x))
        assert y.min() >= 0
        assert y.max() < dataset.classes <= 256
    else:
        assert re.fullmatch(r"(The (training|test)|.*ubyte).{,1200}\.", sentence)
    return dataset


def test_spoiled_files(folder):
    read = [load_spoiled(folder, seed) is not None for seed in range(40)]
    assert 5 < sum(read) < 35  # a pixel or a label may be another


@pytest.mark.slow
def test_many_spoiled_files(folder):
    for seed in range(40, 340):
        load_spoiled(folder, seed)
