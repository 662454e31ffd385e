"""The folder of a run: locked, not overwritten by accident, not made in vain, written in one go."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.common import run_folder
from experiments.common.errors import UserError

ROOT = Path(__file__).parents[2]


def make(out, *, resume=False, overwrite=False):
    """Reserve and make a folder as a run does, and let go of it."""
    with run_folder.reserved(out, "name", resume=resume, overwrite=overwrite) as make_folder:
        folder = make_folder()
        (folder / "checkpoints").mkdir(exist_ok=True)
    return folder


def file(path, text="mine"):
    """A file with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}], ids=str)
def test_the_second_run_in_a_folder_is_refused(options, tmp_path):
    run = tmp_path / "run"
    kept = run / "checkpoints" / "1" / "record.json"
    with (
        run_folder.reserved(run, "name", resume=False, overwrite=False) as first,
        run_folder.reserved(run, "name", resume=False, overwrite=True) as late,
    ):
        file(first() / kept.relative_to(run))
        for second in (lambda: make(run, **options), late):
            with pytest.raises(UserError, match="/run is in use by another run"):
                second()
        assert kept.exists()
    assert make(run, resume=True) == run
    assert {path.name for path in run.iterdir()} == {"checkpoints"}


def test_the_lock_ends_with_its_process(tmp_path):
    program = f"""
import os, signal
from pathlib import Path
from experiments.common import run_folder
with run_folder.reserved(Path({str(tmp_path)!r}), "x", resume=False, overwrite=False) as make:
    make()
    print("made", flush=True)
    input()
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "made\n"
    with pytest.raises(UserError, match="in use"):
        make(tmp_path)
    holder.kill()
    holder.communicate()
    assert list(tmp_path.iterdir()) == []
    make(tmp_path)


def test_two_new_runs_without_out_have_a_folder_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with (
        run_folder.reserved(None, "name", resume=False, overwrite=False) as first,
        run_folder.reserved(None, "name", resume=False, overwrite=False) as second,
    ):
        assert [first(), second()] == [Path("runs/name"), Path("runs/name-2")]
        file(Path("runs/name/metrics.json"))
    assert list(Path("runs").iterdir()) == [Path("runs/name")]


LEFT = {
    "nothing": [],
    "a first checkpoint": ["checkpoints/.0123456789abcdef.part/states/x"],
    "a first checkpoint and its line": [
        "checkpoints/.0123456789abcdef.part/record.json", "checkpoints/history.jsonl"
    ],
    "a first checkpoint of version 0.1": ["checkpoints/1.orbax-checkpoint-tmp-7/states/x"],
    "figures": [".0123456789abcdef.part"],
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT)
def test_what_was_left_half_written_is_no_run(name, tmp_path):
    for path in LEFT[name]:
        file(tmp_path / path)
    some = "complete checkpoint" if (tmp_path / "checkpoints").exists() else "checkpoint"
    with pytest.raises(UserError, match=f"has no {some} to resume from"):
        make(tmp_path, resume=True)
    file(tmp_path / "notes.txt")
    file(tmp_path / ".mine.part")
    make(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert left == {"notes.txt", ".mine.part", "checkpoints"}


@pytest.mark.parametrize(
    "path", ["metrics.json", "picture.png", "checkpoints/3/record.json", "checkpoints/best.pt"]
)
def test_what_is_there_is_not_overwritten_by_accident(path, tmp_path):
    file(tmp_path / path)
    with pytest.raises(UserError, match="already holds a run; add --resume"):
        make(tmp_path)
    assert (tmp_path / path).read_text() == "mine"
    make(tmp_path, overwrite=True)
    assert not (tmp_path / path).exists()


def test_links_that_are_in_the_way_are_replaced_and_not_followed(tmp_path):
    for name in ("metrics.json", "picture.png", "mine/x"):
        file(tmp_path / "other" / name)
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.json").symlink_to(tmp_path / "other" / "metrics.json")
    (run / "picture.png").symlink_to(tmp_path / "nowhere")
    (run / "checkpoints").symlink_to(tmp_path / "other" / "mine")
    with pytest.raises(UserError, match="already holds a run"):
        make(run)
    make(run, overwrite=True)
    run_folder.write_json(run / "metrics.json", 1)
    assert {path.name for path in run.iterdir()} == {"metrics.json", "checkpoints"}
    assert not any(path.is_symlink() for path in run.iterdir())
    assert all(
        (tmp_path / "other" / n).read_text() == "mine" for n in ("metrics.json", "picture.png", "mine/x")
    )


OUTS = {
    "a link to a folder": (lambda at: (at / "out").symlink_to(at / "there"), None),
    "a link to nothing": (lambda at: (at / "out").symlink_to(at / "nowhere"), "it is not a folder"),
    "a link to itself": (lambda at: (at / "out").symlink_to(at / "out"), "it is not a folder"),
    "a file": (lambda at: file(at / "out"), "it is not a folder"),
    "a pipe": (lambda at: os.mkfifo(at / "out"), "it is not a folder"),
}


@pytest.mark.parametrize("name", OUTS)
def test_what_out_may_be(name, tmp_path):
    prepare, message = OUTS[name]
    (tmp_path / "there").mkdir()
    prepare(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    if message is None:
        assert make(tmp_path / "out") == tmp_path / "out"
        assert (tmp_path / "there" / "checkpoints").exists()
        return
    for out in (tmp_path / "out", tmp_path / "out" / "x" / "y", tmp_path / ("x" * 300) / "y"):
        with pytest.raises(UserError, match="cannot be written: " + (message if out.name == "out" else "")):
            make(out)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_refused_run_leaves_no_folder(tmp_path):
    def refused(before):
        with run_folder.reserved(tmp_path / "a" / "b", "name", resume=False, overwrite=False) as make_folder:
            assert before or make_folder().is_dir()
            raise UserError("refused")

    for before in (True, False):
        with pytest.raises(UserError, match="refused"):
            refused(before)
        assert list(tmp_path.iterdir()) == []


def test_files_are_written_whole_or_not_at_all(tmp_path):
    path, seen = tmp_path / "metrics.json", []

    def fail(file):
        seen.append(next(tmp_path.glob(".*.part")).name)
        file.write(b"half")
        raise OSError(28, "No space left on device")

    path.write_text("old")
    for _ in range(2):
        with pytest.raises(UserError, match=r"metrics\.json cannot be written: No space left on device"):
            run_folder.write_whole(path, fail)
    assert seen[0] != seen[1]
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("metrics.json", "old")]
    run_folder.write_json(path, {"a": 1})
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    with pytest.raises(UserError, match="cannot be written"):
        run_folder.write_json(path / "x", 1)


def test_a_part_follows_no_link(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder.secrets, "token_hex", lambda n: "0123456789abcdef")
    (tmp_path / "mine").write_text("precious")
    (tmp_path / ".0123456789abcdef.part").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="File exists"):
        run_folder.write_json(tmp_path / "metrics.json", 1)
    assert (tmp_path / "mine").read_text() == "precious"
