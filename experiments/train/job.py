"""The main job: one network trained with hand-written gradients and with `jax.grad`, and what came of it.

Both start from one initialisation and see the same batches; the job shows that they agree and how fast each
is.
"""

import argparse
import dataclasses
import inspect
import math
import sys
from pathlib import Path
from statistics import median
from typing import Any

import jax
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.common import command_line, run_folder
from experiments.common.console import say
from experiments.common.errors import UserError, choose
from experiments.train import interrupt, models, picture, progress, settings
from experiments.train.checkpoint import Checkpoints
from experiments.train.lockstep import Lockstep

DEFAULT = "mlp"
"""The model that is trained if none is named."""

History = list[dict[str, Any]]


def main() -> int:
    """Parse the command line and run the job; 130 if it was interrupted, 1 if it diverged."""
    model = models.module(choose("--model", named(sys.argv[1:]), models.names()))
    given = command_line.parse(
        model.Settings,
        prog="python -m experiments.train",
        description=inspect.getdoc(model.Settings) or "",
        examples=settings.EXAMPLES,
    )
    settings.check(given)
    jax.config.update("jax_enable_x64", given.dtype == "float64")
    console = Console()
    dataset = model.load(given)
    recipe = model.recipe(given, dataset)
    folder = run_folder.prepare(
        given.out,
        f"{given.source}-{given.model}",
        resume=given.resume,
        overwrite=given.overwrite,
    )
    both = Lockstep(given, recipe, dataset.train, dataset.test)
    checkpoints = Checkpoints(folder / run_folder.CHECKPOINTS)
    try:
        history = resumed(both, checkpoints) if given.resume else []
        interrupted = run(both, history, checkpoints, console)
    finally:
        checkpoints.close()
    return finish(both, history, interrupted, folder, console)


def named(arguments: list[str]) -> str:
    """The model that a command line names: its options are known only then."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--model", nargs="?", default=DEFAULT, const=DEFAULT)
    return parser.parse_known_args(arguments)[0].model


def resumed(both: Lockstep, checkpoints: Checkpoints) -> History:
    """Put the states of the last checkpoint in place and return its history."""
    if checkpoints.latest() is None:
        raise UserError("--out has no complete checkpoint to resume from.")
    record = checkpoints.record()
    now, then = both.fingerprint(), record["fingerprint"]
    for name in now:
        if now[name] != then.get(name):
            raise UserError(
                f"The checkpoint is of other settings: its {name} was {then.get(name)}, now it is "
                f"{now[name]}."
            )
    if len(record["history"]) > both.settings.epochs:
        raise UserError(
            f"--epochs was {both.settings.epochs}; the checkpoint has {len(record['history'])} "
            f"{both.settings.unit}s already."
        )
    both.states = checkpoints.states(both.states)
    return record["history"]


def run(both: Lockstep, history: History, checkpoints: Checkpoints, console: Console) -> bool:
    """Run the rounds that are left, extending `history`; whether the user interrupted them."""
    rounds, unit = both.settings.epochs, both.settings.unit
    table = progress.Table(console, unit, list(both.states), both.recipe.shown, both.parts)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())  # fmt: skip
    with interrupt.deferred() as interruption, Progress(*columns, console=console) as bar:
        task = bar.add_task(f"{unit}s", total=rounds, completed=len(history))
        table.heading()
        for number in range(len(history) + 1, rounds + 1):
            record = both.run_round(number)
            if not all(math.isfinite(e["train_loss"]) for e in record["engines"].values()):
                say(console, f"Training diverged in {unit} {number}: the loss is not finite.")
                break
            history.append(record)
            kept = {"fingerprint": both.fingerprint(), "history": history}
            checkpoints.save(number, both.states, kept)
            table.row(record)
            bar.advance(task)
            if interruption.requested and number < rounds:
                return True
    return False


def finish(both: Lockstep, history: History, interrupted: bool, folder: Path, console: Console) -> int:
    """Write figures and picture, say what came out and where it is, and return the exit code."""
    given, recipe = both.settings, both.recipe
    if not history:
        raise UserError(f"No {given.unit} was completed; try a smaller --learning-rate.")
    metrics = {
        "settings": run_folder.jsonable(dataclasses.asdict(given)),
        "parts": both.parts,
        "engines": {
            name: last
            | {
                "us_per_step": median(r["engines"][name]["us_per_step"] for r in history),
                "compile_s": both.compile_s[name],
            }
            for name, last in history[-1]["engines"].items()
        },
        "max_gradient_difference": max(
            (d for r in history for d in r["gradient_difference"] or []), default=None
        ),
        "parameter_distance": history[-1]["parameter_distance"],
        "epochs_done": len(history),
        "interrupted": interrupted,
        "jax": jax.__version__,
        "history": history,
    }
    run_folder.write_json(folder / run_folder.FIGURES, metrics)
    title = f"{given.source}, {recipe.title}, {given.dtype}"
    run_folder.write_whole(
        folder / run_folder.PICTURE,
        lambda part: picture.draw(
            part,
            history,
            title=title,
            unit=given.unit,
            shown=recipe.shown,
            parts=both.parts,
            dtype=given.dtype,
        ),
    )
    say(console, progress.summary(metrics, recipe.shown))
    say(console, f"Figures: {folder / run_folder.FIGURES}\nPicture: {folder / run_folder.PICTURE}")
    if interrupted:
        rest = given.epochs - len(history)
        say(console, f"Interrupted with {rest} {given.unit}s left; --out {folder} --resume goes on.")
        return 130
    return 0 if len(history) == given.epochs else 1
