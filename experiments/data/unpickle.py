"""Pickles of NumPy arrays, read without running what else a pickle may ask for."""

import codecs
import io
import pickle
from typing import Any

import numpy as np

_ALLOWED = {
    ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,  # how protocol 2 writes bytes
}


def arrays(content: bytes) -> Any:
    """The arrays, in the tuples, lists and dicts that hold them; `pickle.UnpicklingError` for all else."""
    return _Arrays(io.BytesIO(content), encoding="latin1").load()


class _Arrays(pickle.Unpickler):
    """Unpickles NumPy arrays and calls nothing else: a pickle can otherwise run any code."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        module = module_name.replace("numpy.core.", "numpy._core.")  # renamed in numpy 2
        if (module, global_name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")
        return _ALLOWED[module, global_name]
