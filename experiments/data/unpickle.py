"""Pickles of NumPy arrays, read without running what else a pickle may ask for.

A pickle is a program. Before it runs, only instructions that make tuples, lists and arrays are let through
(a dictionary's key can take a year to hash, and a place in the memo 30 gigabytes); while it runs, the names
it asks for lead to stand-ins, which check what NumPy would believe.
"""

import io
import math
import pickle
import pickletools
import re
from typing import Any

import numpy as np

INSTRUCTIONS = {
    "PROTO", "FRAME", "STOP", "MARK", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "BINPUT", "BINGET",
    "MEMOIZE", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "SHORT_BINSTRING",
    "BINSTRING", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8",
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS",
}  # fmt: skip


def arrays(content: bytes | bytearray) -> Any:
    """The arrays, in the tuples and lists that hold them; `pickle.UnpicklingError` for all else."""
    try:
        for instruction, *_ in pickletools.genops(content):
            if instruction.name not in INSTRUCTIONS:
                raise pickle.UnpicklingError(f"it has the instruction {instruction.name}")
        return _Arrays(io.BytesIO(content), encoding="latin1").load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # whatever the misuse of a stand-in or a spoiled length leads to
        raise pickle.UnpicklingError(f"it is no pickle of arrays ({error})") from None


class _Dtype:
    """In place of `numpy.dtype`: of plain numbers, without fields."""

    def __init__(self, code: str, *_: Any) -> None:
        if not re.fullmatch(r"[biuf]\d", code):
            raise pickle.UnpicklingError(f"it has an array of dtype {code}")
        self.plain = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.plain = self.plain.newbyteorder(state[1])


class _Array(np.ndarray):
    """An array whose state is taken only if its size is that of the bytes it comes with."""

    def __setstate__(self, state: Any, /) -> None:
        _, shape, dtype, fortran_order, content = state
        if isinstance(content, str):
            content = content.encode("latin1")  # bytes of Python 2
        if not all(type(n) is int and n >= 0 for n in shape):
            raise pickle.UnpicklingError(f"it has an array of shape {shape}")
        if math.prod(shape) * dtype.plain.itemsize != len(content):
            raise pickle.UnpicklingError(f"it has an array of shape {shape} in {len(content)} bytes")
        checked: Any = (1, shape, dtype.plain, bool(fortran_order), bytes(content))
        super().__setstate__(checked)


def _reconstruct(*_: Any) -> _Array:
    return np.empty(0).view(_Array)


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it has text to be encoded as {encoding}")
    return text.encode("latin1")


_ALLOWED = {
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): None,  # an argument of _reconstruct, never called
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,  # how protocol 2 writes bytes
}


class _Arrays(pickle.Unpickler):
    """Knows no names but those that a pickle of arrays uses."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        module = module_name.replace("numpy.core.", "numpy._core.")  # renamed in numpy 2
        if (module, global_name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")
        return _ALLOWED[module, global_name]
