"""SHA-256 checksums of what a checkpoint holds: a pytree of arrays, a folder of files, a JSON object."""

import hashlib
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np


def of_tree(tree: Any, read: Callable[[Any], np.ndarray] = np.asarray) -> str:
    """One checksum of all leaves: the path, dtype, shape and bytes of each, which is whole as it is read."""
    whole = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = read(leaf)
        whole.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n".encode())
        whole.update(array.tobytes())
    return whole.hexdigest()


def of_files(folder: Path) -> dict[str, str]:
    """A checksum of each file under `folder`, by its path there; what is no file has none."""
    return {
        path.relative_to(folder).as_posix(): _of_file(path)
        for path in sorted(folder.rglob("*"))
        if not stat.S_ISDIR(path.lstat().st_mode)
    }


def of_json(content: dict[str, Any]) -> str:
    """A checksum of an object, whatever the order and the layout in which it was written."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _of_file(path: Path) -> str:
    if not stat.S_ISREG(path.lstat().st_mode):  # a pipe is never read to its end
        return "not a file"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
