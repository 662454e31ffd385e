"""The tensors of a state dict that `torch.save` wrote, without torch and without running what it asks for.

The file is a zip: `data.pkl` says which tensors there are, each a view of a storage, and `data/0`, `data/1`
and so on are the raw numbers of the storages. As in `unpickle`, only instructions that such a pickle needs
are let through, and names lead to stand-ins. What is taken out of the memo must be a text or a name: to hash
tuples of tuples that are each taken twice, as the key of a dictionary, can take a year.
"""

import io
import math
import pickle
import pickletools
import zipfile
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

INSTRUCTIONS = {
    "PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID", "BINPUT", "LONG_BINPUT", "BINGET",
    "LONG_BINGET", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE",
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_DICT", "SETITEM", "SETITEMS",
}  # fmt: skip

DTYPES = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(jnp.bfloat16),
}
"""Of the numbers in a storage of each kind."""

MOST_TUPLES = 10_000
"""Tuples in a pickle, of which each tensor has four: to hash a million in each other is beyond the stack."""


def tensors(content: bytes) -> dict[str, np.ndarray]:
    """The tensors by name; `pickle.UnpicklingError` for all else."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        (program,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        folder = program.removesuffix("data.pkl")
        _check_stored(archive)
        if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
            raise pickle.UnpicklingError("its numbers are not in little-endian order")
        source = archive.read(program)
        _check_instructions(source)
        found = _Tensors(source, archive, folder).load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # whatever the misuse of a stand-in or a spoiled byte leads to
        raise pickle.UnpicklingError(f"it is no state dict of torch ({error})") from None
    if not isinstance(found, dict) or not found:
        raise pickle.UnpicklingError("it holds no tensors by name")
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, np.ndarray):
            raise pickle.UnpicklingError("it holds something else than tensors by name")
    return dict(found)


def _check_stored(archive: zipfile.ZipFile) -> None:
    """Nothing is compressed, so that nothing takes more memory than the file does."""
    for member in archive.infolist():
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise pickle.UnpicklingError(f"{member.filename[:60]} in it is compressed")


def _check_instructions(source: bytes) -> None:
    """Raise for an instruction that no state dict needs, and for a memo used otherwise than by pickle."""
    texts_and_names: set[Any] = set()
    before, tuples, places = "", 0, 0
    for instruction, argument, _ in pickletools.genops(source):
        name = instruction.name
        if name not in INSTRUCTIONS:
            raise pickle.UnpicklingError(f"it has the instruction {name}")
        tuples += "TUPLE" in name
        if tuples > MOST_TUPLES:
            raise pickle.UnpicklingError(f"it has more than {MOST_TUPLES:,} tuples")
        if name.endswith("BINPUT"):
            if argument != places:
                raise pickle.UnpicklingError(f"it puts something into place {argument} of its memo")
            if before in ("BINUNICODE", "GLOBAL"):
                texts_and_names.add(argument)
            places += 1
        if name.endswith("BINGET") and argument not in texts_and_names:
            raise pickle.UnpicklingError(f"it takes place {argument} of its memo, no text or name, again")
        before = name


class _Storage(NamedTuple):
    """The numbers that tensors are views of."""

    numbers: np.ndarray


class _Kind(NamedTuple):
    """In place of a class of storages."""

    name: str


class _Dict(dict[Any, Any]):
    """In place of `collections.OrderedDict`; the state that torch adds are versions of modules."""

    def __init__(self) -> None:
        super().__init__()

    def __setstate__(self, _: Any) -> None:
        pass


class _Rebuild(NamedTuple):
    """In place of `torch._utils._rebuild_tensor_v2`: of tensors row by row. No attributes can be set."""

    def __call__(
        self, storage: Any, offset: Any, shape: Any, strides: Any, _requires_grad: Any, _hooks: Any
    ) -> Any:
        if not isinstance(storage, _Storage):
            raise pickle.UnpicklingError("it has a tensor without a storage")
        if not all(type(n) is int and n >= 0 for n in (offset, *shape, *strides)):
            raise pickle.UnpicklingError(f"it has a tensor of shape {shape}")
        rows = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
        if strides != rows:
            raise pickle.UnpicklingError(
                f"it has a tensor of shape {shape} with strides {strides}, not {rows}"
            )
        end = offset + math.prod(shape)
        if end > len(storage.numbers):
            raise pickle.UnpicklingError(
                f"it has a tensor of shape {shape} at {offset} of {len(storage.numbers)} numbers"
            )
        return storage.numbers[offset:end].reshape(shape)


_ALLOWED = {
    ("torch._utils", "_rebuild_tensor_v2"): _Rebuild(),
    ("collections", "OrderedDict"): _Dict,
    **{("torch", name): _Kind(name) for name in DTYPES},
}


class _Tensors(pickle.Unpickler):
    """Knows no names but those of a state dict, and finds storages in the archive."""

    def __init__(self, source: bytes, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(source))
        self.archive, self.folder = archive, folder
        self.storages: dict[tuple[str, _Kind], _Storage] = {}

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")
        return _ALLOWED[module_name, global_name]

    def persistent_load(self, pid: Any, /) -> _Storage:
        """The storage of a key; tensors that are tied share one."""
        what, kind, key, _device, count = pid
        if what != "storage" or not isinstance(kind, _Kind) or type(key) is not str:
            raise pickle.UnpicklingError("it asks for something else than a storage")
        if (key, kind) not in self.storages:
            content, dtype = self.archive.read(f"{self.folder}data/{key}"), DTYPES[kind.name]
            if len(content) != count * dtype.itemsize:
                raise pickle.UnpicklingError(
                    f"its storage {key[:20]} has {len(content)} bytes, not {count} numbers of {dtype}"
                )
            self.storages[key, kind] = _Storage(np.frombuffer(content, dtype.newbyteorder("<")))
        return self.storages[key, kind]
