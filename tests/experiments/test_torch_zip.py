"""State dicts of torch, read without it: what is in them, and nothing else that a pickle can ask for."""

import collections
import contextlib
import pickle
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.data import torch_zip
from tests.experiments.hostile import spoiled, within
from tests.experiments.torch_files import (  # noqa: F401
    Rebuilt,
    Stored,
    archive,
    pickled,
    stand_ins,
    state_dict,
)

pytestmark = pytest.mark.usefixtures("stand_ins")


@pytest.mark.parametrize("make", [dict, collections.OrderedDict])
def test_what_is_written_is_read(make):
    rng = np.random.default_rng(0)
    arrays = {"a": rng.standard_normal((3, 5)), "b": rng.standard_normal(7).astype(np.float32)}
    arrays |= {
        "c": np.array([[1, 2]], np.float16),
        "d": np.array([[0.5], [3]], jnp.bfloat16),
        "e": np.ones((), "f4"),
    }
    arrays["tied"] = arrays["a"]
    found = torch_zip.tensors(state_dict(arrays, make=make))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array), name
    assert np.shares_memory(found["a"], found["tied"])


def test_a_tensor_may_be_a_part_of_a_storage():
    source = pickled({"a": Rebuilt(Stored("0", 7), 1, (2, 3), (3, 1))})
    numbers = np.arange(7, dtype=np.float32)
    found = torch_zip.tensors(archive(source, {"0": numbers.tobytes()}, byteorder=b"little"))
    assert np.array_equal(found["a"], numbers[1:].reshape(2, 3))


class Reduced:
    def __reduce__(self):
        return print, ("run",)


def of(*args, key="0", count=6):
    return pickled({"a": Rebuilt(Stored(key, count), *args)})


def tuples(number):
    """A dictionary with a key of tuples in each other."""
    return b"\x80\x02})" + number * b"\x85" + b"K\x01s."


NAME = b"ctorch._utils\n_rebuild_tensor_v2\n"
HOSTILE = {
    "code": (lambda: pickled({"a": Reduced()}), r"it asks for __builtin__\.print"),
    "a module": (lambda: b"cos\nsystem\n(S'true'\ntR.", "it has the instruction STRING"),
    "what is behind a name": (lambda: b"ctorch._utils\nsys.exit\n)R.", r"asks for torch\._utils\.sys"),
    "a number of many digits": (lambda: b"I" + b"9" * 5000 + b"\n.", "INT|no state dict"),
    "a place in the memo": (lambda: b"}r\xff\xff\xff\x7f.", "puts something into place 2147483647"),
    "a tuple twice": (lambda: b"})q\0h\0\x86K\x01s.", "takes place 0 of its memo, no text or name, again"),
    "a million tuples": (lambda: tuples(10**6), "more than 10,000 tuples"),
    "many tuples": (lambda: tuples(9_000), "something else than tensors by name"),
    "an attribute": (lambda: b"\x80\x02" + NAME + b"}X\x01\0\0\0aK\1sb.", "it is no state dict"),
    "a slot": (lambda: b"\x80\x02" + NAME + b"N}X\x01\0\0\0aK\1s\x86b.", "instruction NONE"),
    "an attribute of a class": (lambda: b"ccollections\nOrderedDict\n}b.", "it is no state dict"),
    "an outer file": (lambda: of(0, (6,), (1,), key="../version"), "no state dict|no item"),
    "too few bytes": (lambda: of(0, (7,), (1,), count=7), "storage 0 has 24 bytes, not 7 numbers of float32"),
    "too long": (lambda: of(0, (7,), (1,)), r"of shape \(7,\) at 0 of 6 numbers"),
    "behind the end": (lambda: of(3, (2, 2), (2, 1)), r"of shape \(2, 2\) at 3 of 6 numbers"),
    "negative": (lambda: of(0, (-1, -6), (6, 1)), r"of shape \(-1, -6\)"),
    "huge": (lambda: of(0, (2**62, 2**62), (2**62, 1)), r"of shape \(46116.*numbers"),
    "columns": (lambda: of(0, (2, 3), (1, 2)), r"strides \(1, 2\), not \(3, 1\)"),
    "no storage": (lambda: pickled({"a": Rebuilt(1, 0, (3,), (1,))}), "a tensor without a storage"),
    "not by name": (lambda: pickled({1: 2}), "something else than tensors by name"),
    "nothing": (lambda: pickled({}), "it holds no tensors by name"),
    "one tensor": (lambda: pickled(Rebuilt(Stored("0", 6), 0, (6,), (1,))), "it holds no tensors by name"),
    "no pickle": (lambda: b"\xff\xfe", "it is no state dict"),
    "empty": (lambda: b"", "it is no state dict"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles(name, capsys):
    make, message = HOSTILE[name]
    content = archive(make(), {"0": bytes(24)})
    with within(2, megabytes=8), pytest.raises(pickle.UnpicklingError, match=message):
        torch_zip.tensors(content)
    assert capsys.readouterr().out == ""


def test_files_that_are_none():
    good = of(0, (6,), (1,))
    packed = archive(good, {"0": bytes(24)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(pickle.UnpicklingError, match=r"model/data\.pkl in it is compressed"):
        torch_zip.tensors(packed)
    with pytest.raises(pickle.UnpicklingError, match="not in little-endian order"):
        torch_zip.tensors(archive(good, {"0": bytes(24)}, byteorder=b"big"))
    for content in (b"", b"PK", archive(good, {}), archive(good, {"0": bytes(24)})[:-30]):
        with pytest.raises(pickle.UnpicklingError, match="it is no state dict"):
            torch_zip.tensors(content)


def test_spoiled_files():
    good = state_dict({"a": np.ones((3, 5), np.float32), "b": np.zeros(2)})
    for seed in range(100):
        with within(2, megabytes=8), contextlib.suppress(pickle.UnpicklingError):
            torch_zip.tensors(spoiled(good, seed, 600))
