"""The main job: `python -m experiments.train`.

Trains one network with hand-written gradients and with `jax.grad`, from one initialisation and on the
same batches, and shows that the two agree and how fast each is.
"""

import dataclasses
from pathlib import Path
from statistics import median
from typing import Any

import jax
import tyro
from rich.console import Console

from experiments import data
from experiments.common import run_folder
from experiments.common.errors import UserError
from experiments.train import lockstep, picture, progress
from experiments.train.checkpoint import Checkpoints
from experiments.train.settings import Settings, check_names, widths_for


def main() -> int:
    """Parse the command line and run the job; 130 if it was interrupted, 1 if it diverged."""
    settings = tyro.cli(Settings, prog="python -m experiments.train")
    check_names(settings)
    jax.config.update("jax_enable_x64", settings.dtype == "float64")
    console = Console()
    dataset = data.rows(data.load(settings.data, settings.data_dir))
    widths_for(settings, dataset)
    source = settings.data_dir.name if settings.data_dir else settings.data
    folder = run_folder.prepare(
        settings.out,
        f"{source}-{settings.model}",
        resume=settings.resume,
        overwrite=settings.overwrite,
    )
    job = lockstep.Training(settings, dataset)
    checkpoints = Checkpoints(folder / run_folder.CHECKPOINTS)
    try:
        history = lockstep.resumed(job, checkpoints) if settings.resume else []
        interrupted = lockstep.run(job, history, checkpoints, console)
    finally:
        checkpoints.close()
    return finish(job, history, interrupted, folder, source, console)


def finish(
    job: lockstep.Training,
    history: list[dict[str, Any]],
    interrupted: bool,
    folder: Path,
    source: str,
    console: Console,
) -> int:
    """Write figures and picture, say what came out and where it is, and return the exit code."""
    if not history:
        raise UserError("No epoch was completed; try a smaller --learning-rate.")
    metrics = {
        "settings": run_folder.jsonable(dataclasses.asdict(job.settings)),
        "engines": {
            name: last
            | {
                "us_per_step": median(r["engines"][name]["us_per_step"] for r in history),
                "compile_s": job.compile_s[name],
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
    title = f"{source}, {job.settings.model} {job.widths}, {job.settings.dtype}"
    run_folder.write_whole(
        folder / run_folder.PICTURE,
        lambda part: picture.draw(part, history, title, job.settings.dtype),
    )
    console.print(progress.summary(metrics), highlight=False, soft_wrap=True)
    where = f"Figures: {folder / run_folder.FIGURES}\nPicture: {folder / run_folder.PICTURE}"
    console.print(where, highlight=False, soft_wrap=True)
    if interrupted:
        rest = job.settings.epochs - len(history)
        console.print(f"Interrupted with {rest} epochs left; --out {folder} --resume goes on.")
        return 130
    return 0 if len(history) == job.settings.epochs else 1
