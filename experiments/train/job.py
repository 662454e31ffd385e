"""The main job: one network trained with hand-written gradients and with `jax.grad`, and what came of it.

Both start from one initialisation and see the same batches; the job shows that they agree and how fast each
is.
"""

import argparse
import dataclasses
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.common import command_line, interruption, memory, processes, run_folder, team
from experiments.common.console import say
from experiments.common.errors import UserError, choose
from experiments.train import figures, models, picture, progress, settings
from experiments.train.checkpoint import Checkpoints
from experiments.train.divergence import what_is_not_finite
from experiments.train.history import History, Records
from experiments.train.lockstep import Lockstep
from experiments.train.recipe import Recipe
from experiments.train.resume import resumed

DEFAULT = "mlp"
"""The model that is trained if none is named."""


def main(launched: bool = False) -> int:
    """Parse the command line and run the job; 130 if it was interrupted, 1 if it diverged.

    `launched` is a process that `launch` has started, which has one of this machine's accelerators.
    """
    model = models.module(choose("--model", named(sys.argv[1:]), models.names()))
    given = command_line.parse(
        model.Settings,
        prog="python -m experiments.train",
        description=inspect.getdoc(model.Settings) or "",
        examples=settings.EXAMPLES,
    )
    settings.check(given)
    if given.coordinator:
        place = team.Place(given.coordinator, given.processes, given.process_id)
        return team.ended(lambda: joined(given, place, [given.process_id] if launched else None))
    if given.processes is None and team.cluster(os.environ):
        return team.ended(lambda: joined(given, team.Place(None, None, None), None))
    if given.processes is not None and given.processes > 1:
        return launch(given.processes)
    return job(given)


def launch(count: int) -> int:
    """Start the processes on this machine, and return the exit code of the first, which does the talking."""
    where = ["--processes", str(count), "--coordinator", f"127.0.0.1:{processes.free_port()}"]
    command = [sys.executable, "-m", "experiments.train.worker", *sys.argv[1:], *where]
    return processes.lead([[*command, "--process-id", str(i)] for i in range(count)], env=os.environ)


def joined(given: Any, place: team.Place, devices: list[int] | None) -> int:
    """Run the job with the other processes."""
    team.join(place, devices)
    given = dataclasses.replace(
        given,
        processes=jax.process_count(),
        split=given.split or ("data" if jax.device_count() > 1 else None),
    )
    settings.check_devices(given)
    return job(given)


def job(given: Any) -> int:
    """Train the model of the settings in this process, the only one or one of those that have met."""
    model = models.module(given.model)
    jax.config.update("jax_enable_x64", given.dtype == "float64")
    if given.split is not None:
        settings.demand_shares(given, jax.device_count())
    with reserved(given) as make_folder:
        dataset = model.load(given)
        with memory.told("The run"):
            recipe = in_parts(model.recipe(given, dataset), given)
            both = Lockstep(given, recipe, dataset.train, dataset.test)
        with interruption.deferred():  # a round in flight owns the buffers of the states
            return train(both, make_folder(), Console(quiet=not team.is_first()))


def in_parts(recipe: Recipe, given: Any) -> Recipe:
    """The recipe with the batches of the settings in parts."""
    if given.microbatches > 1 and recipe.state is not None:
        raise UserError(
            f"--microbatches was {given.microbatches}; expected 1 for {given.model} with these settings: it "
            "has a state that a whole batch changes."
        )
    return dataclasses.replace(recipe, microbatches=given.microbatches)


@contextmanager
def reserved(given: Any) -> Iterator[Callable[[], Path]]:
    """The folder of the run, to be made late: the first process makes it, and tells the others."""
    if not team.is_first():
        yield lambda: team.told(None)
        return
    name = f"{given.source}-{given.model}"
    with run_folder.reserved(given.out, name, resume=given.resume, overwrite=given.overwrite) as make:
        yield lambda: team.told(make())


def named(arguments: list[str]) -> str:
    """The model that a command line names: its options are known only then."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--model", nargs="?", default=DEFAULT, const=DEFAULT)
    return parser.parse_known_args(arguments)[0].model


def train(both: Lockstep, folder: Path, console: Console) -> int:
    """Run the rounds that are left, write what came out into the folder, and return the exit code."""
    checkpoints = Checkpoints(folder / run_folder.CHECKPOINTS, both.devices.read)
    history = History(folder / run_folder.CHECKPOINTS / run_folder.HISTORY)
    records: Records = []
    try:
        if both.settings.resume:
            records = resumed(both, checkpoints, history)
        diverged = run(both, records, history, checkpoints, console)
    except UserError:  # a round could not be kept; those before it could
        if records:
            with suppress(UserError):
                write(both, records, None, folder, console)
        raise
    finally:
        checkpoints.close()
    write(both, records, diverged, folder, console)
    return finish(both, len(records), diverged, folder, console)


def run(
    both: Lockstep,
    records: Records,
    history: History,
    checkpoints: Checkpoints,
    console: Console,
) -> dict[str, Any] | None:
    """Run the rounds that are left, extending `records` by those that are kept; return one that diverged."""
    rounds, unit = both.settings.epochs, both.settings.unit
    if both.recipe.note:
        say(console, both.recipe.note)
    table = progress.Table(console, unit, list(both.states), both.recipe.shown, both.parts)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(f"{unit}s", total=rounds, completed=len(records))
        table.heading()
        for number in range(len(records) + 1, rounds + 1):
            record = both.run_round(number)
            table.row(record)
            if (what := what_is_not_finite(record, both.states, both.devices.read)) is not None:
                before = f"; what follows is of {unit} {number - 1}" if records else ""
                say(console, f"Training diverged in {unit} {number}: {what} is not finite{before}.")
                return record
            keep(number, both, record, history, checkpoints)
            records.append(record)
            bar.advance(task)
            if number := team.agreed(interruption.number()):
                interruption.request(number)
                break
    return None


def keep(
    number: int, both: Lockstep, record: dict[str, Any], history: History, checkpoints: Checkpoints
) -> None:
    """Add a round to the history and keep the states after it."""
    try:
        mark = history.append(record) if team.is_first() else {}
    except OSError as error:
        raise UserError(f"{history.path} cannot be written: {error.strerror or error}.") from None
    checkpoints.save(number, both.states, {"fingerprint": both.fingerprint(), "history": mark})


def write(
    both: Lockstep, records: Records, diverged: dict[str, Any] | None, folder: Path, console: Console
) -> None:
    """Write figures and picture, and say what came out and where it is."""
    if not team.is_first():
        return
    given, recipe = both.settings, both.recipe
    interrupted = interruption.requested() and len(records) < given.epochs
    metrics = figures.of(both, records, diverged, interrupted)
    run_folder.write_json(folder / run_folder.FIGURES, figures.finite(metrics))
    say(console, progress.summary(metrics, recipe.shown, given.unit))
    if recipe.baselines_text:
        say(console, recipe.baselines_text)
    say(console, f"Figures: {folder / run_folder.FIGURES}")
    run_folder.write_whole(
        folder / run_folder.PICTURE,
        lambda file: picture.draw(
            file,
            metrics["history"],
            title=f"{given.source}, {recipe.title}, {given.dtype}",
            unit=given.unit,
            shown=recipe.shown,
            parts=both.parts,
            dtype=given.dtype,
        ),
    )
    say(console, f"Picture: {folder / run_folder.PICTURE}")


def finish(both: Lockstep, done: int, diverged: dict[str, Any] | None, folder: Path, console: Console) -> int:
    """Say how the run ended and return its exit code."""
    given = both.settings
    if (number := interruption.take()) is not None:
        rest = given.epochs - done
        goes_on = f"{rest} {given.unit}s left; --out {folder} --resume goes on"
        say(console, f"Interrupted with {goes_on if rest else f'all {done} {given.unit}s done'}.")
        return 128 + number
    if diverged is not None:
        say(console, "Try a smaller --learning-rate.")
        return 1
    return 0
