"""Checkpoints of a run: arrays kept by Orbax, with a record that holds a checksum of everything.

A checkpoint is written under another name and renamed when it is complete, so that one that is there is whole
unless it was damaged since. No damaged byte comes to Orbax: a file is read only if its checksum is right, and
the arrays that come back are those that went in only if theirs is.

Several processes write one checkpoint, each the parts that it has, into a folder that all of them see; what
is around the arrays the first does. It has whole arrays, so that any number of processes goes on with it.
"""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from experiments.common import run_folder, team
from experiments.common.errors import UserError
from experiments.train import checksum, quiet

quiet.hush()

KEPT = 2
"""Checkpoints that are kept: an older one is there when the last one is damaged."""

FORMAT = 1
"""Version of what a record holds and of how the arrays lie beside it."""

RECORD, STATES = "record.json", "states"

ENTRIES = {"number": int, "fingerprint": dict, "history": dict, "states": str, "files": dict}
"""What a record holds beside its format and its own checksum."""


class DamagedError(Exception):
    """Why a checkpoint is not what it was when it was written."""


class Checkpoints:
    """The checkpoints in `folder`, each a folder named by the number of its round.

    `read` brings the whole of an array to this process, together with all others.
    """

    def __init__(self, folder: Path, read: Callable[[Any], np.ndarray] = np.asarray) -> None:
        self.folder = folder
        self._read = read
        self._failed: list[Path] = []
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder} cannot be written: {_reason(error)}.") from None
        self._orbax = ocp.Checkpointer(ocp.StandardCheckpointHandler())

    def numbers(self) -> list[int]:
        """The rounds of which there is a checkpoint, the last one first."""
        names = (path.name for path in self.folder.iterdir())
        return sorted((int(name) for name in names if re.fullmatch(r"[1-9][0-9]*", name)), reverse=True)

    def save(self, number: int, states: Any, record: dict[str, Any]) -> None:
        """Keep the arrays of `states` and the JSON values of `record` as those after a round."""
        part = team.told(run_folder.part_beside(self._path(number)) if team.is_first() else None)
        try:
            if team.is_first():
                part.mkdir()
            team.together("a folder for the arrays")
            self._orbax.save(part.absolute() / STATES, args=ocp.args.StandardSave(states))
            of_states = checksum.of_tree(states, self._read)
            if team.is_first():
                self._complete(part, number, {**record, "states": of_states})
        except Exception as error:  # whatever the storage below raises
            shutil.rmtree(part, ignore_errors=True)
            self._failed.append(part)
            raise UserError(f"{self._path(number)} cannot be written: {_reason(error)}.") from None

    def record(self, number: int) -> dict[str, Any]:
        """The record of a checkpoint whose files are what they were; otherwise `DamagedError`."""
        content = self._record(number)
        if content.get("format") != FORMAT:
            raise UserError(
                f"{self._path(number)} is of another version of this program: its format is "
                f"{content.get('format')!r}; expected {FORMAT}."
            )
        wrong = [name for name, kind in ENTRIES.items() if not isinstance(content.get(name), kind)]
        if wrong or content["number"] != number:
            raise DamagedError(f"{RECORD} has another {(wrong or ['number'])[0]} than expected")
        files = checksum.of_files(self._path(number))
        del files[RECORD]
        for name in sorted(files.keys() | content["files"].keys()):
            if files.get(name) != content["files"].get(name):
                raise DamagedError(f"{name} is not what it was")
        return content

    def states(self, number: int, like: Any, record: dict[str, Any]) -> Any:
        """The states of a checkpoint, in the shapes and dtypes of `like`; otherwise `DamagedError`."""
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        try:
            path = self._path(number).absolute() / STATES
            states = self._orbax.restore(path, args=ocp.args.StandardRestore(abstract))
        except Exception as error:  # whatever the storage below raises
            raise DamagedError(f"{STATES} cannot be read: {_reason(error)}") from None
        if checksum.of_tree(states, self._read) != record["states"]:
            raise DamagedError("its arrays are not those that were saved")
        return states

    def close(self) -> None:
        """Let go of the folder, and remove what late writers of a failed save have put there."""
        self._orbax.close()
        for part in self._failed:
            shutil.rmtree(part, ignore_errors=True)

    def _complete(self, part: Path, number: int, record: dict[str, Any]) -> None:
        """Write the record beside the arrays, and put all in its place."""
        content = {"format": FORMAT, "number": number, **record, "files": checksum.of_files(part)}
        content["sha256"] = checksum.of_json(content)
        (part / RECORD).write_text(json.dumps(content, indent=1), encoding="utf-8")
        for later in self.numbers():
            if later >= number:  # damaged, or of rounds that were gone back on
                run_folder.remove(self._path(later))
        os.rename(part, self._path(number))
        for old in self.numbers()[KEPT:]:
            run_folder.remove(self._path(old))

    def _record(self, number: int) -> dict[str, Any]:
        """What was written as the record, whatever its format: all have the checksum of the rest."""
        try:
            content = json.loads((self._path(number) / RECORD).read_bytes())
            if content.pop("sha256") == checksum.of_json(content):
                return content
        except FileNotFoundError:
            raise DamagedError(f"it has no {RECORD}; perhaps another version wrote it") from None
        except Exception as error:  # no JSON, no object, no checksum
            raise DamagedError(f"{RECORD} cannot be read: {_reason(error)}") from None
        raise DamagedError(f"{RECORD} is not what it was")

    def _path(self, number: int) -> Path:
        return self.folder / str(number)


def _reason(error: Exception) -> str:
    """What an error says, in a few words where the system has some for it."""
    number = getattr(error, "errno", None) or re.search(r"os_error_code='(\d+)'", str(error))
    if number is not None:
        return os.strerror(number if isinstance(number, int) else int(number[1]))
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
