"""Arrays of numbers in a `.npz` file, whose names and shapes are known before it is opened.

`numpy.load` allocates what a file declares, and lets through texts, structs and dates. Here nothing is
allocated that the known shapes do not ask for.
"""

import io
import math
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from experiments.common import regular_file
from experiments.common.errors import UserError

HEADER = 1 << 16
"""Bytes that a name and a header may take, far more than they do."""
WIDEST = 16
"""Bytes of the widest number."""
ENCRYPTED = 1
"""The bit of a zip file's flags that says so."""

Shape = tuple[int, ...]


def read(path: Path, shapes: Mapping[str, Shape]) -> dict[str, np.ndarray]:
    """The arrays of these names and shapes, all of them and no others; of real numbers or truth values."""
    most = sum(map(_room, shapes.values())) + HEADER
    try:
        with regular_file.opened(path) as file:
            if (size := regular_file.size(file)) > most:
                raise UserError(f"{path} has {size} bytes; the arrays expected take at most {most}.")
            return inside(path, file, shapes)
    except (OSError, MemoryError) as error:
        raise UserError(f"{path} cannot be read: {regular_file.reason(error)}.") from None


def inside(path: Path, file: BinaryIO, shapes: Mapping[str, Shape]) -> dict[str, np.ndarray]:
    """The same of a file that is open; `path` is how it is called in a sentence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an array that Python 2 wrote is one like another
            return _arrays(path, zipfile.ZipFile(file), shapes)
    except UserError:
        raise
    except Exception as error:  # zipfile and NumPy raise whatever a spoiled byte leads to
        raise UserError(f"{path} cannot be read: {regular_file.reason(error)}.") from None


def _room(shape: Shape) -> int:
    return HEADER + WIDEST * math.prod(shape)


def _arrays(path: Path, archive: zipfile.ZipFile, shapes: Mapping[str, Shape]) -> dict[str, np.ndarray]:
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name in members:
            raise UserError(f"{path} has two arrays {_shown([name])}.")
        members[name] = member
    for name in shapes:
        if name not in members:
            raise UserError(f"{path} has no array {name}; it has {_shown(members)}.")
    if unknown := members.keys() - shapes.keys():
        raise UserError(f"{path} has arrays of no param: {_shown(unknown)}.")
    return {name: _array(path, archive, name, members[name], shape) for name, shape in shapes.items()}


def _array(
    path: Path, archive: zipfile.ZipFile, name: str, member: zipfile.ZipInfo, shape: Shape
) -> np.ndarray:
    if member.flag_bits & ENCRYPTED:
        raise UserError(f"{name} in {path} is encrypted.")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(f"{name} in {path} is compressed in another way than NumPy does.")
    if member.file_size > _room(shape):
        raise UserError(
            f"{name} in {path} declares {member.file_size} bytes; expected at most {_room(shape)}."
        )
    with archive.open(member) as inflated:  # so many bytes and no more, with a look at their checksum
        content = io.BytesIO(inflated.read(member.file_size))
    version = np.lib.format.read_magic(content)
    if version not in {(1, 0), (2, 0), (3, 0)}:
        raise UserError(f"{name} in {path} has the unknown version {version} of NumPy's format.")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    found, in_columns, dtype = read(
        content
    )  # version 3 has other names of fields, of which there are none here
    if dtype.kind not in "biuf":
        raise UserError(f"{name} in {path} has dtype {dtype}; expected real numbers.")
    if found != shape:
        raise UserError(f"{name} in {path} has shape {found}; expected {shape}.")
    values = content.read()
    if len(values) != dtype.itemsize * math.prod(shape):
        raise UserError(f"{name} in {path} has {len(values)} bytes; shape {shape} of {dtype} needs others.")
    return np.frombuffer(values, dtype).reshape(shape, order="F" if in_columns else "C")


def _shown(names: Iterable[str], most: int = 8) -> str:
    """The first names and the beginnings of long ones."""
    first = sorted(name[:60] for name in names)
    return ", ".join(first[:most]) + (" and more" if len(first) > most else "") or "none"
