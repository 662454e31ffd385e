"""Checkpoints half-written, damaged, changed or of another version: never other weights, no traceback."""

import contextlib
import json
import random
import resource
import shutil
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common import run_folder
from experiments.common.errors import UserError
from experiments.train import checksum
from experiments.train.checkpoint import FORMAT, Checkpoints
from experiments.train.epoch import State
from experiments.train.history import History
from experiments.train.resume import resumed

SETTINGS = {"seed": 0, "widths": [5, 3]}


def states(number):
    """States that are of one round alone, in several dtypes."""
    rng = np.random.default_rng(number)
    params = {"w": jnp.asarray(rng.normal(size=(5, 3)), jnp.float32), "b": jnp.ones(3, jnp.bfloat16) * number}
    moments = jnp.asarray(rng.normal(size=(5, 3)))
    return {name: State(params, (jnp.int32(number), moments), None) for name in ("manual", "autodiff")}


def run(epochs=9, settings=SETTINGS) -> Any:
    """What `resumed` asks of a run: no network is needed for it."""
    return SimpleNamespace(
        states=states(0),
        settings=SimpleNamespace(epochs=epochs, unit="epoch"),
        fingerprint=lambda: settings,
    )


def keep(folder, numbers, settings=SETTINGS):
    """Keep some rounds as the job does."""
    checkpoints, history = Checkpoints(folder), History(folder / run_folder.HISTORY)
    if numbers.start > 1:
        resumed(run(), checkpoints, history)
    for number in numbers:
        mark = history.append({"epoch": number, "loss": 1 / number})
        checkpoints.save(number, states(number), {"fingerprint": settings, "history": mark})


def go_on(folder, of=None):
    """The number of the round from which a run goes on, whose states and history must be those of it."""
    of = of or run()
    records = resumed(of, Checkpoints(folder), History(folder / run_folder.HISTORY))
    assert records == [{"epoch": n, "loss": 1 / n} for n in range(1, len(records) + 1)]
    assert checksum.of_tree(of.states) == checksum.of_tree(states(len(records)))
    return len(records)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Three rounds, of which the last two have a checkpoint."""
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    keep(folder, range(1, 4))
    return folder


@pytest.fixture
def copy(kept, tmp_path):
    """A copy of them to be spoiled."""
    return Path(shutil.copytree(kept, tmp_path / "checkpoints"))


def test_two_checkpoints_are_kept_and_the_last_is_gone_on_from(kept, capsys):
    assert {path.name for path in kept.iterdir()} == {"2", "3", "history.jsonl"}
    assert go_on(kept) == 3
    assert capsys.readouterr().err == ""


def flip(path, rng):
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def files_of(folder):
    """The files of a checkpoint; those of the same kind together."""
    kinds: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            inside = path.relative_to(folder)
            kinds.setdefault(str(inside.parent if inside.parent.name == "d" else inside), []).append(path)
    return kinds


@pytest.mark.parametrize("flips", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_a_flipped_bit_is_noticed_and_the_older_checkpoint_serves(flips, copy, capsys):
    rng, fallen = random.Random(flips), 0
    kinds = files_of(copy / "3")
    assert len(kinds) >= 8
    for kind, paths in kinds.items():
        for _ in range(flips):
            path = rng.choice(paths)
            whole = path.read_bytes()
            flip(path, rng)
            number, said = go_on(copy), capsys.readouterr().err
            if number == 2:
                fallen += 1
                assert said.startswith(f"{copy / '3'} is damaged ("), kind
                assert said.endswith("); going on from epoch 2.\n")
                assert said.count("\n") == 1
            else:
                assert kind == "record.json"  # a space that is now a line feed, say
            path.write_bytes(whole)
    assert fallen >= 0.9 * flips * len(kinds)


def test_if_all_are_damaged_it_is_one_sentence(copy):
    for number in "23":
        flip(copy / number / "states" / "_METADATA", random.Random(0))
    with pytest.raises(UserError) as caught:
        go_on(copy)
    assert f"{copy / '3'} is damaged (states/_METADATA is not what it was); {copy / '2'} is" in str(
        caught.value
    )


DAMAGES = {
    "a file gone": lambda folder: (folder / "states" / "_METADATA").unlink(),
    "a file more": lambda folder: (folder / "states" / "more").write_text("x"),
    "a file cut": lambda folder: (folder / "states" / "manifest.ocdbt").write_bytes(b"\x0c"),
    "all arrays gone": lambda folder: shutil.rmtree(folder / "states"),
    "an empty folder": lambda folder: (shutil.rmtree(folder), folder.mkdir()),
    "a file instead": lambda folder: (shutil.rmtree(folder), folder.write_text("x")),
    "a link instead": lambda folder: (shutil.rmtree(folder), folder.symlink_to("nowhere")),
    "a link for a file": lambda folder: (
        (folder / "states" / "_METADATA").unlink(), (folder / "states" / "_METADATA").symlink_to("_sharding"),
    ),
    "record gone": lambda folder: (folder / "record.json").unlink(),
    "record cut": lambda folder: (folder / "record.json").write_text('{"format": 1, "num'),
    "record empty": lambda folder: (folder / "record.json").write_text(""),
    "record a list": lambda folder: (folder / "record.json").write_text("[1]"),
    "record deep": lambda folder: (folder / "record.json").write_text("[" * 10**5),
    "record binary": lambda folder: (folder / "record.json").write_bytes(b"\xff\xfe\x00"),
    "record changed": lambda folder: changed(folder, signed=False, fingerprint={**SETTINGS, "seed": 1}),
    "no such entry": lambda folder: changed(folder, fingerprint=None),
    "of another type": lambda folder: changed(folder, files=[]),
    "another number": lambda folder: changed(folder, number=7),
    "a mark of no kind": lambda folder: changed(folder, history={"bytes": "9"}),
    "a mark far out": lambda folder: changed(folder, history={"bytes": 10**18, "sha256": ""}),
    "of version 0.1": lambda folder: (shutil.rmtree(folder), (folder / "record").mkdir(parents=True)),
    "history spoiled": lambda folder: (folder.parent / "history.jsonl").write_bytes(
        (folder.parent / "history.jsonl").read_bytes()[:-10] + b"123456789\n"
    ),
    "history cut": lambda folder: (folder.parent / "history.jsonl").write_bytes(
        (folder.parent / "history.jsonl").read_bytes()[:-1]
    ),
}  # fmt: skip


def changed(folder, *, signed=True, **entries):
    """Change the record of a checkpoint; if `signed` with the checksum that it should have then."""
    path = folder / "record.json"
    content = json.loads(path.read_text()) | entries
    if signed:
        del content["sha256"]
        content["sha256"] = checksum.of_json(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("name", DAMAGES)
def test_whatever_is_damaged_the_older_checkpoint_serves(name, copy, capsys):
    DAMAGES[name](copy / "3")
    assert go_on(copy) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{copy / '3'} is damaged (")
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", ["a file gone", "a file instead", "a link instead"])
def test_the_damaged_checkpoint_is_replaced(name, copy):
    DAMAGES[name](copy / "3")
    keep(copy, range(3, 5))
    assert {path.name for path in copy.iterdir()} == {"3", "4", "history.jsonl"}
    assert go_on(copy) == 4


def test_arrays_that_orbax_gives_back_are_checked_too(copy, capsys):
    shutil.rmtree(copy / "3" / "states")
    shutil.copytree(copy / "2" / "states", copy / "3" / "states")
    files = checksum.of_files(copy / "3")
    del files["record.json"]
    changed(copy / "3", files=files)
    assert go_on(copy) == 2
    assert "its arrays are not those that were saved" in capsys.readouterr().err


REFUSED = {
    "changed setting": (run(settings={**SETTINGS, "seed": 1}), "its seed was 0, now it is 1."),
    "setting of a later version": (run(settings={"widths": [5, 3]}), "its seed, 0, is unknown here."),
    "setting of now": (run(settings={**SETTINGS, "scale": 2}), "it has no scale, which is 2 now."),
    "fewer epochs": (run(epochs=2), "--epochs was 2; the checkpoint has 3 epochs already."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_checkpoint_of_other_settings_is_refused(name, kept):
    of, message = REFUSED[name]
    with pytest.raises(UserError) as caught:
        go_on(kept, of)
    assert str(caught.value).endswith(message)


@pytest.mark.parametrize("other", [FORMAT + 1, 0, "1", None])
def test_another_format_is_refused(other, copy):
    changed(copy / "3", format=other)
    with pytest.raises(
        UserError, match=f"another version of this program: its format is {other!r}; expected"
    ):
        go_on(copy)


def test_settings_are_compared_as_json_has_them(kept):
    assert go_on(kept, run(settings={"seed": 0, "widths": (5, 3)})) == 3


def test_lines_that_no_checkpoint_has_are_dropped(copy):
    history = copy / "history.jsonl"
    with history.open("a") as file:
        file.write('{"epoch": 4, "loss": 77}\n{"epoch": 5, "lo')
    assert go_on(copy) == 3
    keep(copy, range(4, 5))
    assert go_on(copy) == 4
    assert len(history.read_text().splitlines()) == 4


def test_the_history_is_appended_and_records_do_not_grow(tmp_path):
    sizes, before = [], b""
    history = History(tmp_path / "history.jsonl")
    for number in range(1, 40):
        mark = history.append({"epoch": number, "loss": 1 / number})
        content = history.path.read_bytes()
        assert content.startswith(before)
        assert content.count(b"\n") == number
        assert mark["bytes"] == len(content)
        before = content
        sizes.append(len(json.dumps(mark)))
    assert max(sizes) - min(sizes) <= 4


def test_a_history_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "history.jsonl").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match=r"history\.jsonl"):
        History(tmp_path / "history.jsonl").append({})
    assert (tmp_path / "mine").read_text() == "precious"


@contextlib.contextmanager
def files_up_to(size):
    """No file can be longer: what a full disk says, an error of the system in the middle of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 100, 300, 600, 1500])
def test_a_full_disk_leaves_what_was_kept(size, copy):
    record = {"fingerprint": SETTINGS, "history": {"bytes": 0, "sha256": ""}}
    with files_up_to(size), pytest.raises(UserError) as caught:
        Checkpoints(copy).save(4, states(4), record)
    assert str(caught.value) == f"{copy / '4'} cannot be written: File too large."
    assert Checkpoints(copy).numbers() == [3, 2]  # and perhaps what its late writers made, which is none
    assert go_on(copy) == 3


@pytest.mark.parametrize(
    "instead",
    [lambda at: None, Path.mkdir, lambda at: at.write_text("x"), lambda at: at.symlink_to("nowhere")],
    ids=["nothing", "a folder", "a file", "a link"],
)
def test_a_folder_that_was_turned_away_is_one_sentence(instead, copy, tmp_path):
    parent = tmp_path / "run"
    parent.mkdir()
    copy = copy.rename(parent / "checkpoints")
    checkpoints = Checkpoints(copy)
    parent.rename(tmp_path / "away")
    instead(parent)
    with pytest.raises(
        UserError, match=r"run/checkpoints/4 cannot be written: (No such file|Not a dir)[^.]*\.$"
    ):
        checkpoints.save(4, states(4), {})
    assert go_on(tmp_path / "away" / "checkpoints") == 3


class Snapshots:
    """Copies of a folder before each change that Python makes in it: what a kill at that moment leaves."""

    def __init__(self, folder, into):
        self.folder, self.into, self.looks, self.busy = folder, into, set(), True
        sys.addaudithook(self)

    def __call__(self, event, args):
        changes = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"}
        if self.busy or event not in changes or threading.current_thread() is not threading.main_thread():
            return
        self.busy = True
        top = [path for path in self.folder.glob("checkpoints/*") if path.suffix != ".part"]
        look = (*sorted(path.name for path in top), *(path.stat().st_size for path in top if path.is_file()))
        parts = self.folder.glob("checkpoints/*.part/*")
        look += (tuple(sorted(path.name for path in parts)),)
        if look not in self.looks:
            into = self.into / str(len(self.looks) + 1)
            try:
                shutil.copytree(self.folder, into)
                self.looks.add(look)
            except OSError:  # another thread was at it
                shutil.rmtree(into)
        self.busy = False


def test_a_run_killed_at_any_moment_goes_on_or_starts_anew(tmp_path):
    folder, into = tmp_path / "run", tmp_path / "killed"
    (folder / "checkpoints").mkdir(parents=True)
    snapshots = Snapshots(folder, into)
    snapshots.busy = False
    keep(folder / "checkpoints", range(1, 5))
    snapshots.busy = True
    found = []
    for number in range(1, len(snapshots.looks) + 1):
        killed = into / str(number)
        if any(path.name.isdigit() for path in (killed / "checkpoints").iterdir()):
            with run_folder.reserved(killed, "x", resume=True, overwrite=False) as make:
                make()
            found.append(go_on(killed / "checkpoints"))
        else:
            found.append(0)
            with (
                pytest.raises(UserError, match="has no complete checkpoint to resume from"),
                run_folder.reserved(killed, "x", resume=True, overwrite=False),
            ):
                pass
            with run_folder.reserved(killed, "x", resume=False, overwrite=False) as make:
                assert list(make().iterdir()) == []
        assert not list(killed.rglob(".*.part"))
    assert found == sorted(found)
    assert set(found) == {0, 1, 2, 3, 4}
    assert len(found) > 15


def test_checksum_of_a_tree_sees_bytes_dtype_shape_and_path():
    x = np.array([1.0, -0.0], np.float32)
    trees = [
        {"a": x}, {"b": x}, {"a": x[::-1]}, {"a": np.abs(x)}, {"a": x[None]}, {"a": x.view(np.int32)},
        {"a": x, "b": x}, {"a": (x,)}, {"a": x.astype(np.float64)}, {"a": jnp.asarray(x, jnp.bfloat16)},
    ]  # fmt: skip
    assert len({checksum.of_tree(tree) for tree in trees}) == len(trees)
    assert checksum.of_tree({"a": jnp.asarray(x)}) == checksum.of_tree({"a": x})
    assert jax.tree.leaves(trees)
