"""The cache of downloaded data: what is wrong with it, its folder or pip is told in one sentence."""

import contextlib
import gzip
import hashlib
import io
import os
import pickle
import socket
import stat
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from experiments.common.errors import UserError
from experiments.data import mnist, unpickle, wheels
from experiments.data.wheels import Wheel
from tests.experiments.hostile import NO_FILES, nowhere, powerless, spoiled, within


def archive(content: bytes) -> bytes:
    """The bytes of a wheel with `content` where MNIST is."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as inside:
        inside.writestr(mnist.MEMBER, content)
    return file.getvalue()


CONTENT = archive(b"content")
WHEEL = Wheel("ours==1", "ours-1-py3-none-any.whl", hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder that pip cannot fill."""
    monkeypatch.setenv("MANUAL_BP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


@pytest.mark.parametrize("make", NO_FILES)
def test_wheel_that_is_no_file(cache, make):
    make(cache / WHEEL.file)
    with (
        within(2, megabytes=2),
        pytest.raises(
            UserError, match=rf"whl cannot be read: {NO_FILES[make]}\. Delete it to fetch it again\."
        ),
    ):
        wheels.fetch(WHEEL, "data")


BAD = {"truncated": CONTENT[:-1], "empty": b"", "another": archive(b"another")}


@pytest.mark.parametrize("name", BAD)
def test_wheel_of_another_hash(cache, name):
    (cache / WHEEL.file).write_bytes(BAD[name])
    with pytest.raises(UserError, match=rf"wrong SHA-256 hash, \w+; expected {WHEEL.sha256}\. Delete it"):
        wheels.member(WHEEL, mnist.MEMBER, "data")


def test_wheel_that_is_too_large_is_not_read(cache):
    with open(cache / WHEEL.file, "wb") as file:
        file.truncate(2**40)  # of zeros that take no space
    with (
        within(2, megabytes=2),
        pytest.raises(UserError, match="it has 1099511627776 bytes, expected at most 268435456"),
    ):
        wheels.fetch(WHEEL, "data")


def test_wheel_that_may_not_be_read(cache):
    (cache / WHEEL.file).write_bytes(CONTENT)
    with powerless(), pytest.raises(UserError, match=r"whl cannot be read: Permission denied\. Delete it"):
        wheels.fetch(WHEEL, "data")


def falsified(file_size):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as inside:
        inside.writestr(mnist.MEMBER, b"content")
        inside.infolist()[0].file_size = file_size
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no zip", "holds no readable data: File is not a zip file. Delete it"),
        (falsified(80 * 2**40), "holds no readable data: .* declares more than 268435456 bytes"),
        (archive(b"")[:-9].replace(b"mnist.pkl", b"other.pkl") + bytes(9), "holds no readable data: "),
    ],
)
def test_wheel_that_holds_something_else(cache, content, message):
    (cache / WHEEL.file).write_bytes(content)
    with within(2, megabytes=2), pytest.raises(UserError, match=message):
        wheels.member(WHEEL._replace(sha256=hashlib.sha256(content).hexdigest()), mnist.MEMBER, "data")


FOLDERS = {
    "given": ({"MANUAL_BP_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
    "of all caches": ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/manual-bp"),
    "at home": ({"HOME": "/c"}, "/c/.cache/manual-bp"),
    "empty": ({"MANUAL_BP_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/manual-bp"),
    "relative": ({"XDG_CACHE_HOME": "b", "HOME": "/c"}, "/c/.cache/manual-bp"),
}


@pytest.fixture
def environment(monkeypatch):
    for name in ("MANUAL_BP_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("name", FOLDERS)
def test_cache_folder(environment, name):
    variables, expected = FOLDERS[name]
    for key, value in variables.items():
        environment.setenv(key, value)
    assert wheels.cache_folder() == Path(expected)


@pytest.mark.parametrize("home", ["~", "relative"])
def test_no_home(environment, home):
    environment.setattr(os.path, "expanduser", lambda _: home)
    with pytest.raises(UserError, match=r"There is no home folder .* set MANUAL_BP_CACHE"):
        mnist.load()


def test_home_of_a_user_without_one(environment):
    pwd = pytest.importorskip("pwd")

    def unknown(_):
        raise KeyError

    environment.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(UserError, match="There is no home folder"):
        wheels.fetch(WHEEL, "data")


def test_home_that_cannot_be_written(environment, tmp_path):
    environment.setenv("HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cache folder .*/manual-bp cannot be written: Not a directory"):
        wheels.fetch(WHEEL, "data")


@pytest.fixture
def python(tmp_path, monkeypatch):
    """Put a script of a shell in the place of Python with its pip."""

    def write(script):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(sys, "executable", str(path))

    return write


def found_by_pip(tmp_path):
    """A script that puts the wheel where pip is told to, slowly and in two pieces."""
    (tmp_path / "first").write_bytes(CONTENT[:50])
    (tmp_path / "second").write_bytes(CONTENT[50:])
    target = f'"$dest/{WHEEL.file}"'
    return (
        'while [ "$1" != --dest ]; do shift; done; dest=$2; '
        f"cat {tmp_path}/first >> {target}; sleep 0.2; cat {tmp_path}/second >> {target}"
    )


SAID = {
    "no Python": (None, r"Python cannot be started to run pip \(No such file or directory\)\."),
    "no pip": ("echo /bin/python: No module named pip >&2; exit 1", r"this Python has no pip; install it\."),
    "nothing": ("exit 1", "pip said nothing"),
    "success and no file": ("exit 0", "pip said nothing"),
    "another": ("echo WARNING: x >&2; echo ERROR: No space left >&2; exit 1", "ERROR: No space left"),
    "not in UTF-8": (r"printf 'ERROR: \377' >&2; exit 1", "ERROR: \N{REPLACEMENT CHARACTER}"),
}


@pytest.mark.parametrize("name", SAID)
def test_what_pip_says(cache, python, name):
    script, message = SAID[name]
    if script is not None:
        python(script)
    with pytest.raises(UserError, match=f"^data could not be fetched as the package ours==1: {message}$"):
        wheels.fetch(WHEEL, "data")
    assert list(cache.iterdir()) == []


def test_pip_that_does_not_end(cache, python, monkeypatch):
    python("exec sleep 60")
    monkeypatch.setattr(wheels, "SECONDS", 0.2)
    with within(5, megabytes=2), pytest.raises(UserError, match=r"pip took longer than 0\.2 seconds\.$"):
        wheels.fetch(WHEEL, "data")
    assert list(cache.iterdir()) == []


def test_several_that_fetch_at_once_see_all_of_it_or_nothing(cache, python, tmp_path):
    python(found_by_pip(tmp_path))
    found, seen = [], set()
    threads = [
        threading.Thread(target=lambda: found.append(wheels.member(WHEEL, mnist.MEMBER, "data")))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    while any(thread.is_alive() for thread in threads):
        with contextlib.suppress(FileNotFoundError):
            seen.add((cache / WHEEL.file).read_bytes())
        time.sleep(0.001)
    assert found == [b"content"] * 3
    assert seen == {CONTENT}
    assert [path.name for path in cache.iterdir()] == [WHEEL.file]


def test_link_to_nowhere_is_fetched_anew(cache, python, tmp_path):
    nowhere(cache / WHEEL.file)
    python(found_by_pip(tmp_path))
    assert wheels.fetch(WHEEL, "data") == CONTENT


def pip_is_told(monkeypatch, index):
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", index)


@pytest.mark.parametrize(
    ("listens", "reason"), [(False, r"Errno \d+\] Connection refused"), (True, "timed out")]
)
def test_index_that_is_not_reached(monkeypatch, tmp_path, listens, reason):
    monkeypatch.undo()
    monkeypatch.setenv("MANUAL_BP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(wheels, "PATIENCE", ["--timeout", "0.3", "--retries", "1"])
    with contextlib.closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        if listens:
            server.listen()
        pip_is_told(monkeypatch, f"http://127.0.0.1:{server.getsockname()[1]}/simple")
        with pytest.raises(UserError, match=rf"the package index cannot be reached \(.*{reason}.*\)\.$"):
            wheels.fetch(WHEEL, "data")


def split(n):
    return np.full((n, 784), n / 9, np.float32), np.arange(n) % 10


SPLITS = split(5), split(2), split(3)
FOUR_BYTES = (2**31 - 1).to_bytes(4, "little")


class Reduced:
    """Pickled as the call of a function."""

    def __init__(self, function, *args, state=None):
        self.reduced = (function, args, state)

    def __reduce__(self):
        return self.reduced


def of_state(*state):
    return pickle.dumps(Reduced(*np.empty(0).__reduce__()[:2], state=state))


HOSTILE = {
    "code": (pickle.dumps(Reduced(print, "run")), r"it asks for builtins\.print"),
    "a module": (b"cos\nsystem\n(S'true'\ntR.", "it has the instruction STRING"),
    "a persistent name": (b"Pname\n.", "it has the instruction PERSID"),
    "a place in the memo": (b"Nr" + FOUR_BYTES + b".", "it has the instruction LONG_BINPUT"),
    "a key": (pickle.dumps({((1, 2), (3, 4)): 1}), "it has the instruction EMPTY_DICT"),
    "a number of many digits": (b"I" + b"9" * 5000 + b"\n.", "instruction INT|no pickle of arrays"),
    "a string of 2 GB": (b"T" + FOUR_BYTES + b"short.", "it is no pickle of arrays"),
    "bytes of 9 EB": (b"\x8e" + b"\xff" * 7 + b"\x7fshort.", "it is no pickle of arrays"),
    "a frame of 9 EB": (b"\x80\x04\x95" + b"\xff" * 7 + b"\x7fN.", "no pickle of arrays|invalid|truncated"),
    "an array of 1 TB": (of_state(1, (2**37,), np.dtype("f8"), False, b""), r"\(137438953472,\) in 0 bytes"),
    "a negative shape": (of_state(1, (-1, -8), np.dtype("u1"), False, b"12345678"), r"of shape \(-1, -8\)"),
    "objects": (pickle.dumps(np.array([None, print])), "array of dtype O8|asks for builtins.print"),
    "structs": (pickle.dumps(np.zeros(3, "i4,f8")), "array of dtype V12|instruction"),
    "text": (pickle.dumps(np.array(["a"])), "array of dtype U1"),
    "dates": (pickle.dumps(np.zeros(3, "M8[s]")), "array of dtype M8|instruction"),
    "no state": (pickle.dumps(Reduced(*np.empty(0).__reduce__()[:2], state=3)), "it is no pickle of arrays"),
    "a call of what is none": (b"cnumpy\nndarray\n)R.", "it is no pickle of arrays"),
    "an unknown codec": (b"c_codecs\nencode\nX\1\0\0\0aX\4\0\0\0idna\x86R.", "text to be encoded as idna"),
    "no end": (pickle.dumps(SPLITS)[:-1], "it is no pickle of arrays"),
    "empty": (b"", "it is no pickle of arrays"),
    "no pickle": (b"\xff\xfe", "it is no pickle of arrays"),
    "deep": (b")" + b"\x85" * 20_000 + b".", "in three pairs"),
    "a list of itself": (b"]q\0h\0a.", "in three pairs"),
    "two pairs": (pickle.dumps(SPLITS[:2]), "does not hold images of 784 values and labels in three"),
    "no pairs": (pickle.dumps([SPLITS[0][0]] * 3), "in three pairs"),
    "other images": (pickle.dumps([(np.zeros((2, 7)), np.zeros(2, int))] * 3), "in three pairs"),
    "a scalar": (pickle.dumps([(np.zeros(()), np.zeros(2, int))] * 3), "in three pairs"),
}  # fmt: skip


def hold(cache, monkeypatch, content):
    """Let the wheel with this content pass for the pinned one."""
    whole = archive(content)
    (cache / mnist.WHEEL.file).write_bytes(whole)
    monkeypatch.setattr(mnist, "WHEEL", mnist.WHEEL._replace(sha256=hashlib.sha256(whole).hexdigest()))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickle(cache, monkeypatch, name, capsys):
    content, message = HOSTILE[name]
    hold(cache, monkeypatch, gzip.compress(content))
    with within(2, megabytes=4), pytest.raises(UserError, match=f"holds no readable MNIST: .*({message})"):
        mnist.load()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("order", ["C", "F"])
def test_pickles_of_arrays(protocol, order):
    arrays = [
        np.asarray(np.arange(6).reshape(2, 3), dtype, order=order) for dtype in ("u1", ">f4", "f8", "?")
    ]
    for found, array in zip(unpickle.arrays(pickle.dumps(arrays, protocol)), arrays, strict=True):
        assert np.array_equal(found, array)
        assert found.dtype == array.dtype.newbyteorder("=")


def test_counts_that_differ(cache, monkeypatch):
    x, y = split(5)
    hold(cache, monkeypatch, gzip.compress(pickle.dumps(((x, y[:4]), split(2), split(3)))))
    with pytest.raises(UserError, match="training data has 7 images but 6 labels"):
        mnist.load()


def test_bomb(cache, monkeypatch):
    monkeypatch.setattr(mnist, "MOST", 10**5)
    hold(cache, monkeypatch, gzip.compress(pickle.dumps(np.zeros(10**6))))
    with within(2, megabytes=4), pytest.raises(UserError, match="it is no pickle of arrays"):
        mnist.load()


def test_spoiled_pickles():
    good = [pickle.dumps(([SPLITS[0]], SPLITS[1][1]), protocol) for protocol in (2, 4)]
    for seed in range(100):
        with within(2, megabytes=2), contextlib.suppress(pickle.UnpicklingError):
            unpickle.arrays(spoiled(good[seed % 2], seed, 300))
