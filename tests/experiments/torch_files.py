"""State dicts as torch writes them, written without it."""

import collections
import io
import pickle
import sys
import types
import zipfile
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

DTYPES = {"DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "BFloat16Storage": jnp.bfloat16}


def archive(source, storages, folder="model", *, byteorder=None, compression=zipfile.ZIP_STORED):
    """A file as torch writes it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        made.writestr(f"{folder}/data.pkl", source)
        for key, numbers in storages.items():
            made.writestr(f"{folder}/data/{key}", numbers)
        if byteorder:
            made.writestr(f"{folder}/byteorder", byteorder)
        made.writestr(f"{folder}/version", b"3\n")
    return file.getvalue()


class Stored:
    """A storage in a test's pickle."""

    def __init__(self, key, count, kind="FloatStorage"):
        self.pid = ("storage", sys.modules["torch"].__dict__[kind], key, "cpu", count)


class Rebuilt:
    """A tensor, pickled as torch does it."""

    def __init__(self, storage, offset, shape, strides):
        self.args = (storage, offset, shape, strides, False, collections.OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"].__dict__["_rebuild_tensor_v2"], self.args


class Pickler(pickle.Pickler):
    """Writes storages as persistent ids."""

    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, Stored) else None


@pytest.fixture
def stand_ins(monkeypatch):
    """Modules of the names that a pickle of torch has, for the pickler alone."""
    of_torch, of_utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in DTYPES:
        kind = type(name, (), {"__module__": "torch", "__qualname__": name})
        setattr(of_torch, name, kind)

    def _rebuild_tensor_v2():
        pass

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    of_utils.__dict__["_rebuild_tensor_v2"] = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", of_torch)
    monkeypatch.setitem(sys.modules, "torch._utils", of_utils)


def pickled(value):
    file = io.BytesIO()
    Pickler(file, 2).dump(value)
    return file.getvalue()


def state_dict(arrays, *, make=dict):
    """A file with these arrays, of which those that are one array are tied."""
    keys: dict[int, str] = {}
    storages: dict[str, bytes] = {}
    tensors: Any = make()
    for name, array in arrays.items():
        key = keys.setdefault(id(array), str(len(keys)))
        kind = next(kind for kind, dtype in DTYPES.items() if array.dtype == dtype)
        storages[key] = array.tobytes()
        strides = tuple(int(s) // array.itemsize for s in np.empty(array.shape, array.dtype).strides)
        tensors[name] = Rebuilt(Stored(key, array.size, kind), 0, array.shape, strides)
    if make is not dict:
        tensors._metadata = make({"": {"version": 1}})
    return archive(pickled(tensors), storages)
