"""The folder of a run: a new one by default, never one that holds another run's results by accident."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.common.errors import UserError

FIGURES, PICTURE, CHECKPOINTS = "metrics.json", "picture.png", "checkpoints"


def prepare(out: Path | None, name: str, *, resume: bool, overwrite: bool) -> Path:
    """The folder to write to, made if it is new and emptied of a run if `overwrite`."""
    folder = out or _first_free(Path("runs") / name)
    holds_run = any((folder / part).exists() for part in (FIGURES, PICTURE)) or any(
        (folder / CHECKPOINTS).glob("*")
    )
    if resume and not (folder / CHECKPOINTS).exists():
        raise UserError(f"--out {folder} has no checkpoint to resume from.")
    if holds_run and not (resume or overwrite):
        raise UserError(
            f"--out {folder} already holds a run; add --resume to go on with it, --overwrite to "
            "replace it, or name another folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        if overwrite:
            for part in (FIGURES, PICTURE):
                (folder / part).unlink(missing_ok=True)
            if (folder / CHECKPOINTS).exists():
                shutil.rmtree(folder / CHECKPOINTS)
    except OSError as error:
        raise UserError(f"--out {folder} cannot be written: {error.strerror or error}.") from None
    return folder


def _first_free(folder: Path) -> Path:
    candidate, number = folder, 1
    while candidate.exists():
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate


def jsonable(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with paths as text."""
    return {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()}


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one go: whoever looks finds the old file or the new one, never half of one."""
    write_whole(
        path,
        lambda part: part.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8"),
    )


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Have `write` make a file beside `path`, then put it in its place."""
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        write(part)
        os.replace(part, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from None
    finally:
        part.unlink(missing_ok=True)
