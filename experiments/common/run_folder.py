"""The folder of a run: a new one by default, one run at a time, never another run's results by accident."""

import itertools
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from experiments.common import interruption
from experiments.common.errors import UserError

try:
    import fcntl
except ImportError:  # not a POSIX system: runs are not kept apart there
    fcntl = None

FIGURES, PICTURE, CHECKPOINTS, HISTORY = "metrics.json", "picture.png", "checkpoints", "history.jsonl"

PART = re.compile(r"\.[0-9a-f]{16}\.part")
"""The name of what is not complete."""


@contextmanager
def reserved(out: Path | None, name: str, *, resume: bool, overwrite: bool) -> Iterator[Callable[[], Path]]:
    """Check the folder of a run and keep other runs out of it; the function yielded makes it and returns it.

    It is made late, so that a refused command leaves nothing behind, and goes again if nothing came into it.
    Without `resume` it is emptied of what a run may have left.
    """
    with ExitStack() as held:

        def hold(folder: Path) -> None:
            held.enter_context(_locked(folder))
            _check(folder, resume=resume, overwrite=overwrite)

        exists = False
        if out is not None:
            with _told(out):
                exists = _is_folder(out)
                if exists:
                    hold(out)
                elif resume:
                    raise UserError(f"--out {out} has no checkpoint to resume from.")

        def make() -> Path:
            with _told(out or Path("runs")):
                folder, made = (out, []) if out and exists else _make(out, Path("runs") / name)
                if not exists:
                    hold(folder)
                held.enter_context(interruption.leaving(lambda: _remove_empty(made)))
                tempfile.TemporaryFile(dir=folder).close()
                _clear(folder, everything=not resume)
            return folder

        yield make


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Tell in a sentence what the file system says of the folder."""
    try:
        yield
    except OSError as error:
        raise UserError(f"--out {folder} cannot be written: {error.strerror or error}.") from None


def _is_folder(path: Path) -> bool:
    if os.path.lexists(path) and not path.is_dir():
        raise UserError(f"--out {path} cannot be written: it is not a folder.")
    return path.is_dir()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other runs out of the folder; the lock is on the folder itself and ends with the process."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UserError(f"--out {folder} is in use by another run.") from None
    except OSError:  # some network file systems lock no folders; there it is up to the user
        pass
    try:
        yield
    finally:
        os.close(descriptor)


def _check(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise `UserError` if what is in the folder is not what the command line expects."""
    checkpoints = folder / CHECKPOINTS
    if resume and not _has_checkpoints(checkpoints):
        some = "complete checkpoint" if checkpoints.exists() else "checkpoint"
        raise UserError(f"--out {folder} has no {some} to resume from.")
    if resume or overwrite:
        return
    if _has_checkpoints(checkpoints) or any(os.path.lexists(folder / part) for part in (FIGURES, PICTURE)):
        raise UserError(
            f"--out {folder} already holds a run; add --resume to go on with it, --overwrite to "
            "replace it, or name another folder."
        )


def _has_checkpoints(folder: Path) -> bool:
    """Whether there is more than a run leaves that was ended in its first round."""
    if not folder.is_dir():
        return os.path.lexists(folder)
    return any(not (_is_part(path) or path.name == HISTORY) for path in folder.iterdir())


def _is_part(path: Path) -> bool:
    """Whether something was being written when its run was killed; Orbax named it so before version 0.2."""
    return PART.fullmatch(path.name) is not None or ".orbax-checkpoint-tmp" in path.name


def _make(out: Path | None, name: Path) -> tuple[Path, list[Path]]:
    """Make `out`, or the first free folder of a name; it, and all folders that were made for it."""
    if out is not None:
        made = _missing(out)
        out.mkdir(parents=True, exist_ok=True)
        return out, made
    for number in itertools.count(1):
        folder = name if number == 1 else name.with_name(f"{name.name}-{number}")
        made = _missing(folder)
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder, made
    raise AssertionError


def _missing(folder: Path) -> list[Path]:
    return [path for path in (folder, *folder.parents) if not path.exists()]


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _clear(folder: Path, *, everything: bool) -> None:
    """Remove what was left half-written, and the results of a run if `everything` may go."""
    results = [folder / name for name in (FIGURES, PICTURE, CHECKPOINTS)] if everything else []
    places = [place for place in (folder, folder / CHECKPOINTS) if place.is_dir()]
    parts = [path for place in places for path in place.iterdir() if _is_part(path)]
    for path in [*parts, *results]:
        remove(path)


def remove(path: Path) -> None:
    """Remove a folder with all that is in it, a file, or a link; nothing if there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def jsonable(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with paths as text."""
    return {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()}


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one go: whoever looks finds the old file or the new one, never half of one."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))


def write_whole(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Have `write` fill a new file beside `path`, then put it in its place."""
    part = part_beside(path)
    with interruption.deferred():
        try:
            with open(part, "xb") as file:  # new, and no link
                write(file)
            os.replace(part, path)
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror or error}.") from None
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def part_beside(path: Path) -> Path:
    """A name beside `path` that nobody can foresee, for what is not complete."""
    return path.with_name(f".{secrets.token_hex(8)}.part")
