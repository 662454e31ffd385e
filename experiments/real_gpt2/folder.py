"""A folder as `save_pretrained` writes it: `config.json`, and tensors in one safetensors file or several."""

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from experiments.common import memory, regular_file
from experiments.common.errors import UserError, shown
from experiments.real_gpt2 import huggingface
from experiments.real_gpt2.config import Config

CONFIG, WHOLE, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"

MOST = 1 << 24
"""Bytes of a JSON file, far more than it has."""

DTYPES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Bytes of a number by its dtype in a file."""


def load(folder: Path) -> huggingface.Decoder:
    """The decoder in a folder, its params as they are stored."""
    config = Config(folder / CONFIG, json_of(folder / CONFIG))
    with contextlib.ExitStack() as opened:
        files = {name: opened.enter_context(_open(folder / name)) for name in _files(folder)}
        places = {tensor: name for name, file in files.items() for tensor in file.keys()}  # noqa: SIM118
        places = {tensor: name for tensor, name in places.items() if not tensor.endswith(huggingface.BUFFERS)}
        shapes, needed = {}, 0
        for tensor, name in places.items():
            stored = files[name].get_slice(tensor)
            shapes[tensor], dtype = tuple(stored.get_shape()), stored.get_dtype()
            if dtype not in DTYPES:
                raise UserError(
                    f"{tensor} in {folder / name} has dtype {dtype}; expected {', '.join(DTYPES)}."
                )
            needed += DTYPES[dtype] * int(np.prod(shapes[tensor]))
        memory.require(str(folder), needed)
        return huggingface.decoder(config, shapes, lambda tensor: files[places[tensor]].get_tensor(tensor))


def json_of(path: Path) -> Any:
    """What a JSON file holds."""
    try:
        with regular_file.opened(path) as file:
            if (size := regular_file.size(file)) > MOST:
                raise UserError(f"{path} has {size} bytes; expected at most {MOST}.")
            return json.loads(file.read(size))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {regular_file.reason(error)}.") from None


def _files(folder: Path) -> list[str]:
    """The names of the files with the tensors."""
    if not (folder / INDEX).exists():
        return [WHOLE]
    index = json_of(folder / INDEX)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not places or not all(isinstance(n, str) for n in places.values()):
        raise UserError(f"{folder / INDEX} has no weight_map from tensors to files.")
    names = sorted(set(places.values()))
    for name in names:
        if Path(name).name != name:
            raise UserError(f"{folder / INDEX} names the file {shown(name)}; expected one in its folder.")
    return names


@contextlib.contextmanager
def _open(path: Path) -> Any:
    """A safetensors file, whose header is read and whose numbers are not."""
    try:
        with regular_file.opened(path), safe_open(path, framework="np") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read: {regular_file.reason(error)}.") from None
