"""Learning rates of single weights: files and rules of any content end in factors or in one sentence."""

import io
import re
import struct
import zipfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.errors import UserError
from experiments.train import rates
from manual_bp.models import mlp
from tests.experiments.hostile import NO_FILES, powerless, spoiled, within

PARAMS: Any = mlp.init(jax.random.key(0), [3, 2], dtype=jnp.float32)
W, B = np.array([[1.0, 0.0], [0.5, 1.0], [2.0, 1.0]]), np.ones(2)


def saved(w: Any = W, b: Any = B, compressed=False) -> bytes:
    """The bytes of a `.npz` file."""
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **{"layers.0.w": w, "layers.0.b": b})
    return file.getvalue()


def npy(array=W, version=None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


def zipped(w: bytes, change=lambda info: None, *, more=(), **options) -> bytes:
    """A zip file with the bytes `w` in place of an array, of which `change` falsifies the directory."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, content in [("layers.0.w.npy", w), ("layers.0.b.npy", npy(B)), *more]:
            archive.writestr(name, content)
        change(archive.infolist()[0])
    return file.getvalue()


def declared(text: str, version=1) -> bytes:
    """An array's header of this text, followed by a few bytes."""
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode() + bytes(48)


def header(shape: Any = (3, 2), descr: Any = "<f8", fortran_order: Any = False) -> str:
    return repr({"descr": descr, "fortran_order": fortran_order, "shape": shape})


def read(folder, content: bytes, params: Any = PARAMS) -> Any:
    path = folder / "rates.npz"
    path.write_bytes(content)
    with within(2, megabytes=4):
        return rates.read(str(path), params)


def same(found: Any, w: Any = W, b: Any = B) -> bool:
    layer = found.layers[0]
    return np.array_equal(layer.w, w) and np.array_equal(layer.b, b) and layer.w.dtype == np.float32


GOOD = {
    "float64": saved(),
    "compressed": saved(compressed=True),
    "float16": saved(W.astype("f2")),
    "other byte order": saved(W.astype(">f4")),
    "by column": saved(np.asfortranarray(W)),
    "version 2": zipped(npy(version=(2, 0))),
    "version 3": zipped(npy(version=(3, 0))),
    "of Python 2": zipped(declared(header().replace("(3, 2)", "(3L, 2L)"))[:-48] + W.tobytes()),
}


@pytest.mark.parametrize("name", GOOD)
def test_files_that_are_good(tmp_path, name):
    assert same(read(tmp_path, GOOD[name]))


def test_integers_and_truth_values(tmp_path):
    assert same(read(tmp_path, saved(W > 0.6, np.arange(2))), W > 0.6, [0, 1])


class Code:
    """Prints when it is unpickled."""

    def __reduce__(self):
        return print, ("unpickled",)


def two_of(name: str) -> bytes:
    with pytest.warns(UserWarning, match="Duplicate name"):
        return zipped(npy(), more=[(name, npy())])


def falsified(field: str, value: int, content=b""):
    return lambda: zipped(content or npy(), lambda info: setattr(info, field, value))


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


OBJECTS = np.array([[Code()] * 2] * 3)
MANY = [(f"a{i}", b"") for i in range(50)]
BAD = {
    "not a zip": (lambda: b"no zip file" * 20, "cannot be read: File is not a zip file"),
    "an array alone": (npy, "cannot be read: File is not a zip file"),
    "empty": (lambda: b"", "cannot be read: File is not a zip file"),
    "truncated": (lambda: saved()[:-40], "cannot be read: File is not a zip file"),
    "strings": (lambda: saved(W.astype(str)), "layers.0.w in .*npz has dtype <U32; expected real numbers"),
    "bytes": (lambda: saved(W.astype("S3")), r"has dtype \|S3; expected real"),
    "structs": (lambda: saved(W.astype([("a", "f8")])), "has dtype .*'a'.*; expected real"),
    "dates": (lambda: saved(W.astype("M8[s]")), r"has dtype datetime64\[s\]; expected real"),
    "times": (lambda: saved(W.astype("m8[s]")), r"has dtype timedelta64\[s\]; expected real"),
    "complex": (lambda: saved(W + 1j), "has dtype complex128; expected real"),
    "objects": (lambda: saved(OBJECTS), "has dtype object; expected real"),
    "too large": (lambda: saved(W * 1e300), "layers.0.w in .* has the value 1e.300, which is too large"),
    "not a number": (lambda: saved(b=B * np.nan), "layers.0.b in .* has the value nan, which is not finite"),
    "infinite": (lambda: saved(W + np.inf), "has the value inf, which is not finite"),
    "negative": (lambda: saved(W - 0.75), "has the value -0.75, which is negative; expected a number from 0"),
    "other shape": (lambda: saved(W.T), r"layers.0.w in .* has shape \(2, 3\); expected \(3, 2\)"),
    "other rank": (lambda: saved(W[None]), r"has shape \(1, 3, 2\); expected \(3, 2\)"),
    "no name": (lambda: zipped(b"").replace(b"layers.0.b", b"layers.1.b"), "has no array layers.0.b; it"),
    "other name": (lambda: zipped(npy(), more=[("x.npy", npy())]), "has arrays of no param: x"),
    "name with a line end": (lambda: zipped(npy(), more=[("x\ny", b"")]), r"of no param: x\\ny\.$"),
    "many names": (lambda: zipped(npy(), more=MANY), r"of no param: a0, a1, .*a14, a15 and more\."),
    "name twice": (lambda: two_of("layers.0.w.npy"), "has two arrays layers.0.w"),
    "name twice, once with its ending": (lambda: zipped(npy(), more=[("layers.0.w", b"")]), "has two arrays"),
    "encrypted": (falsified("flag_bits", 1), "layers.0.w in .*npz is encrypted"),
    "80 TB": (falsified("file_size", 80 * 2**40), "declares 87960930222080 bytes; expected at most 65632"),
    "80 TB by its header": (lambda: zipped(declared(header((10**13, 1)))), r"has shape \(10{13}, 1\);"),
    "huge numbers": (lambda: zipped(declared(header(descr="<U999999999"))), "cannot be read|has dtype"),
    "subarrays": (lambda: zipped(declared(header(descr=("<f8", (10**7,))))), "cannot be read|has dtype"),
    "negative shape": (lambda: zipped(declared(header((-3, -2)))), r"has shape \(-3, -2\); expected"),
    "too few bytes": (lambda: zipped(npy()[:-8]), r"has 40 bytes; shape \(3, 2\) of float64 needs others"),
    "too many bytes": (lambda: zipped(npy() + b"x"), "has 49 bytes; shape"),
    "spoiled": (lambda: flipped(saved(), 180), "cannot be read: Bad CRC-32"),
    "spoiled when compressed": (lambda: flipped(saved(compressed=True), 100), "cannot be read"),
    "larger than said": (falsified("file_size", 100), "cannot be read: Bad CRC-32"),
    "compressed by LZMA": (lambda: zipped(npy(), compression=14), "in another way than NumPy"),
    "unknown compression": (falsified("compress_type", 99), "in another way than NumPy"),
    "bomb": (lambda: zipped(npy() + bytes(10**7), compression=8), "declares 10000176 bytes"),
    "file too large": (lambda: saved() + bytes(10**6), "bytes; the arrays expected take at most"),
    "no magic": (lambda: zipped(b"layers"), "cannot be read: "),
    "unknown version": (lambda: zipped(declared(header(), 4)), r"unknown version \(4, 0\)"),
    "long header": (lambda: zipped(declared(header() + " " * 20_000)), r"Header info length .* securely\.$"),
    "cut header": (lambda: zipped(declared(header(), 2)[:-60]), "cannot be read: "),
    "deep header": (lambda: zipped(declared("(" * 5_000)), "cannot be read: "),
    "no dictionary": (lambda: zipped(declared("3")), "cannot be read: Header is not a dictionary"),
    "code in the header": (lambda: zipped(declared("print('run')")), "cannot be read: "),
    "unknown type": (lambda: zipped(declared(header(descr="<q9"))), "cannot be read: "),
    "no truth value": (lambda: zipped(declared(header(fortran_order=2))), "cannot be read: "),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_files(tmp_path, name, capsys):
    make, message = BAD[name]
    with pytest.raises(UserError, match=f"^--rates: .*{message}"):
        read(tmp_path, make())
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("make", NO_FILES)
def test_no_file(tmp_path, make):
    make(tmp_path / "x.npz")
    with within(2, megabytes=4), pytest.raises(UserError, match=f"x.npz cannot be read: {NO_FILES[make]}"):
        rates.read(str(tmp_path / "x.npz"), PARAMS)


def test_what_may_not_be_read_or_is_not_there(tmp_path):
    (tmp_path / "x.npz").write_bytes(saved())
    with powerless(), pytest.raises(UserError, match=r"--rates: .*x.npz cannot be read: Permission denied"):
        rates.read(str(tmp_path / "x.npz"), PARAMS)
    with pytest.raises(UserError, match=r"--rates: none.npz cannot be read: No such file or directory\.$"):
        rates.read("none.npz", PARAMS)


NUMBERS = {
    "": "--rates was layers:; expected numbers",
    "1": "--rates has 1 numbers; the model has 2 layers: layers.0, layers.1",
    "1,2,3": "--rates has 3 numbers; the model has 2 layers",
    "1,": "--rates was layers:1,; expected numbers",
    "1,x": "--rates was layers:1,x; expected numbers",
    "1,1j": "expected numbers",
    "nan,1": "--rates: layers.0 has the value nan, which is not finite; expected a number from 0 up",
    "1,inf": "--rates: layers.1 has the value inf, which is not finite",
    "1,1e39": r"layers.1 has the value 1e\+39, which is too large; expected a number from 0 up, in float32",
    "1,1e400": "which is not finite",
    "-1,1": "layers.0 has the value -1.0, which is negative",
    "-inf,1": "which is negative",
}


@pytest.mark.parametrize("numbers", NUMBERS)
def test_bad_numbers(numbers):
    params = mlp.init(jax.random.key(0), [3, 2, 2], dtype=jnp.float32)
    with pytest.raises(UserError, match=NUMBERS[numbers]):
        rates.read(f"layers:{numbers}", params)


def test_largest_and_smallest_numbers():
    found: Any = rates.read("layers:3e38,0", mlp.init(jax.random.key(0), [3, 2, 2], dtype=jnp.float32))
    assert np.all(found.layers[0].w == np.float32(3e38))
    assert not np.any(found.layers[1].w)
    wide: Any = rates.read("layers:1e39", mlp.init(jax.random.key(0), [3, 2], dtype=jnp.float64))
    assert np.all(wide.layers[0].w == 1e39)


def read_spoiled(folder, seed):
    """The factors in a spoiled file; None if it is refused."""
    good = GOOD[["float64", "compressed", "by column"][seed % 3]]
    found, sentence = None, ""
    try:
        found = read(folder, spoiled(good, seed, len(good)) if seed % 2 else spoiled_array(seed))
    except UserError as error:
        sentence = str(error)
    if found is None:
        assert re.fullmatch(r"--rates: .{,500}\.", sentence)
    else:
        assert all(np.all(np.isfinite(leaf) & (leaf >= 0)) for leaf in jax.tree.leaves(found))
    return found


def spoiled_array(seed):
    return zipped(
        spoiled(npy(), seed, 128), compression=[zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED][seed % 4 // 2]
    )


def test_spoiled_files(tmp_path):
    found = [read_spoiled(tmp_path, seed) is not None for seed in range(40)]
    assert 2 < sum(found) < 35  # what is written twice in a zip file is read once


@pytest.mark.slow
def test_many_spoiled_files(tmp_path):
    for seed in range(40, 340):
        read_spoiled(tmp_path, seed)
