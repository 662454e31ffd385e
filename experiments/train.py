"""The main job: `python -m experiments.train`.

Trains one network with hand-written gradients and with `jax.grad`, from one initialisation and on the
same batches, and shows that the two agree and how fast each is.
"""

import dataclasses
import math
import time
import zlib
from pathlib import Path
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import manual_bp
from experiments import data, errors, interrupt, loop, optimizers, plots, report, run_folder
from experiments.checkpoint import Checkpoints
from experiments.engines import ENGINES
from experiments.errors import UserError
from experiments.settings import Settings, check_names, widths_for

PROBE = 1024
"""Examples of the batch at which the gradients of the engines are compared."""


class Training:
    """Two engines (or one) that train in lockstep: compiled functions, states and data."""

    def __init__(self, settings: Settings, dataset: data.Dataset) -> None:
        self.settings = settings
        widths = widths_for(settings, dataset)
        dtype = jnp.dtype(settings.dtype)
        self.key = jax.random.key(settings.seed)
        module = getattr(manual_bp.models, settings.model)
        params = module.init(
            jax.random.fold_in(self.key, 0), widths, initializer=settings.initializer, dtype=dtype
        )
        self.layers = len(params.layers)
        self.steps = len(dataset.train.x) // settings.batch_size
        rates = optimizers.read_rates(settings.rates, params)
        optimizer = optimizers.build(
            settings.optimizer,
            settings.learning_rate,
            schedule=settings.schedule,
            steps=self.steps * settings.epochs,
            weight_decay=settings.weight_decay,
            rates=rates,
        )
        static = {
            "activation": settings.activation,
            "output_activation": settings.output_activation,
        }
        names = list(ENGINES) if settings.engine == "both" else [settings.engine]
        engines = {n: ENGINES[n](settings.model, settings.loss, static) for n in names}
        self.train = self._batch(dataset.train, widths[-1], dtype)
        self.test = self._batch(dataset.test, widths[-1], dtype)
        self.test_labels = jnp.asarray(dataset.test.y)
        self.probe = jax.tree.map(lambda a: a[:PROBE], self.train)
        self.states = {
            # copies: each engine donates its own buffers
            n: loop.State(jax.tree.map(jnp.copy, params), optimizer.init(params))
            for n in names
        }
        self.evaluate = {n: loop.make_evaluate(e) for n, e in engines.items()}
        self.compare = loop.make_compare(engines[names[0]], engines[names[-1]])
        self.epoch, self.compile_s = {}, {}
        for name, engine in engines.items():
            start = time.perf_counter()
            epoch = loop.make_epoch(engine, optimizer, settings.batch_size)
            self.epoch[name] = epoch.lower(self.states[name], self.train, self.key).compile()
            self.compile_s[name] = time.perf_counter() - start
        self.checksum = zlib.crc32(
            b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves((self.train, rates)))
        )

    def _batch(self, split: data.Split, classes: int, dtype: Any) -> loop.Batch:
        x, y = jnp.asarray(split.x, dtype), jnp.asarray(split.y)
        labelled = self.settings.loss == "softmax_cross_entropy"
        return x, y if labelled else jax.nn.one_hot(y, classes, dtype=dtype)

    def run_epoch(self, number: int) -> dict[str, Any]:
        """Train each engine for one epoch and return what came of it."""
        key = jax.random.fold_in(self.key, number)
        names = list(self.states) if number % 2 else list(self.states)[::-1]  # no one always first
        engines: dict[str, Any] = dict.fromkeys(self.states)
        for name in names:
            start = time.perf_counter()
            self.states[name], losses = self.epoch[name](self.states[name], self.train, key)
            jax.block_until_ready(self.states[name])
            us_per_step = 1e6 * (time.perf_counter() - start) / self.steps
            params = self.states[name].params
            loss, accuracy = self.evaluate[name](params, self.test, self.test_labels)
            engines[name] = {
                "train_loss": float(jnp.mean(losses)),
                "test_loss": float(loss),
                "test_accuracy": float(accuracy),
                "us_per_step": us_per_step,
            }
        first, *others = (state.params for state in self.states.values())
        differences, norms = self.compare(first, self.probe)
        return {
            "epoch": number,
            "engines": engines,
            "gradient_difference": differences.tolist() if others else None,
            "gradient_norm": norms.tolist(),
            "parameter_distance": loop.distance(first, others[0]) if others else None,
        }

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to be gone on from."""
        apart = {"out", "resume", "overwrite", "data_dir"}
        if self.settings.schedule == "constant":
            apart.add("epochs")  # nothing depends on how many there will be
        settings = {k: v for k, v in dataclasses.asdict(self.settings).items() if k not in apart}
        settings["widths"] = [int(layer.w.shape[0]) for layer in self._params().layers]
        return settings | {"checksum of the data and rates": self.checksum}

    def _params(self) -> Any:
        return next(iter(self.states.values())).params


def main() -> int:
    """Parse the command line and run the job; 130 if it was interrupted, 1 if it diverged."""
    settings = tyro.cli(Settings, prog="python -m experiments.train")
    check_names(settings)
    jax.config.update("jax_enable_x64", settings.dtype == "float64")
    console = Console()
    dataset = data.load(settings.data, settings.data_dir)
    widths_for(settings, dataset)
    source = settings.data_dir.name if settings.data_dir else settings.data
    folder = run_folder.prepare(
        settings.out,
        f"{source}-{settings.model}",
        resume=settings.resume,
        overwrite=settings.overwrite,
    )
    training = Training(settings, dataset)
    checkpoints = Checkpoints(folder / run_folder.CHECKPOINTS)
    try:
        history = resumed(training, checkpoints) if settings.resume else []
        interrupted = train(training, history, checkpoints, console)
    finally:
        checkpoints.close()
    return finish(training, history, interrupted, folder, source, console)


def resumed(training: Training, checkpoints: Checkpoints) -> list[dict[str, Any]]:
    """Put the states of the last checkpoint in place and return its history."""
    if checkpoints.latest() is None:
        raise UserError("--out has no complete checkpoint to resume from.")
    record = checkpoints.record()
    now, then = training.fingerprint(), record["fingerprint"]
    for name in now:
        if now[name] != then.get(name):
            raise UserError(
                f"The checkpoint is of other settings: its {name} was {then.get(name)}, now it is "
                f"{now[name]}."
            )
    if len(record["history"]) > training.settings.epochs:
        raise UserError(
            f"--epochs was {training.settings.epochs}; the checkpoint has {len(record['history'])} "
            "epochs already."
        )
    training.states = checkpoints.states(training.states)
    return record["history"]


def train(
    training: Training, history: list[dict[str, Any]], checkpoints: Checkpoints, console: Console
) -> bool:
    """Run the epochs that are left, extending `history`; whether the user interrupted them."""
    epochs = training.settings.epochs
    table = report.Table(console, list(training.states), training.layers)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())  # fmt: skip
    with interrupt.deferred() as interruption, Progress(*columns, console=console) as progress:
        task = progress.add_task("epochs", total=epochs, completed=len(history))
        table.heading()
        for number in range(len(history) + 1, epochs + 1):
            record = training.run_epoch(number)
            if not all(math.isfinite(e["train_loss"]) for e in record["engines"].values()):
                console.print(f"Training diverged in epoch {number}: the loss is not finite.")
                break
            history.append(record)
            kept = {"fingerprint": training.fingerprint(), "history": history}
            checkpoints.save(number, training.states, kept)
            table.row(record)
            progress.advance(task)
            if interruption.requested:
                return True
    return False


def finish(
    training: Training,
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
        "settings": jsonable(dataclasses.asdict(training.settings)),
        "engines": {
            name: last
            | {
                "us_per_step": median(r["engines"][name]["us_per_step"] for r in history),
                "compile_s": training.compile_s[name],
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
    widths = [layer.w.shape[0] for layer in training._params().layers]
    title = f"{source}, {training.settings.model} {widths}, {training.settings.dtype}"
    run_folder.write_whole(
        folder / run_folder.PICTURE,
        lambda part: plots.training(part, history, title, training.settings.dtype),
    )
    console.print(report.summary(metrics), highlight=False, soft_wrap=True)
    where = f"Figures: {folder / run_folder.FIGURES}\nPicture: {folder / run_folder.PICTURE}"
    console.print(where, highlight=False, soft_wrap=True)
    if interrupted:
        rest = training.settings.epochs - len(history)
        console.print(f"Interrupted with {rest} epochs left; --out {folder} --resume goes on.")
        return 130
    return 0 if len(history) == training.settings.epochs else 1


def jsonable(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with paths as text."""
    return {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()}


if __name__ == "__main__":
    errors.run(main)
