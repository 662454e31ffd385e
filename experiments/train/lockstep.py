"""Two engines that train in lockstep, epoch by epoch, and how a run goes on from its checkpoint."""

import dataclasses
import math
import time
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import manual_bp
from experiments import data
from experiments.common.errors import UserError
from experiments.train import epoch, interrupt, optimizers
from experiments.train import progress as report
from experiments.train.checkpoint import Checkpoints
from experiments.train.engines import ENGINES
from experiments.train.settings import Settings, widths_for

PROBE = 1024
"""Examples of the batch at which the gradients of the engines are compared."""


class Training:
    """Two engines (or one) that train in lockstep: compiled functions, states and data."""

    def __init__(self, settings: Settings, dataset: data.Dataset) -> None:
        self.settings = settings
        widths = widths_for(settings, dataset)
        dtype = jnp.dtype(settings.dtype)
        module = getattr(manual_bp.models, settings.model)
        self.key = jax.random.key(settings.seed)

        @jax.jit
        def init(key: jax.Array) -> Any:
            first = jax.random.fold_in(key, 0)  # the epochs fold in 1, 2, ...
            return module.init(first, widths, initializer=settings.initializer, dtype=dtype)

        params = init(self.key)
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
        start = jax.jit(lambda key: epoch.State(init(key), optimizer.init(init(key))))
        static = {
            "activation": settings.activation,
            "output_activation": settings.output_activation,
        }
        names = list(ENGINES) if settings.engine == "both" else [settings.engine]
        engines = {n: ENGINES[n](settings.model, settings.loss, static) for n in names}
        self.train = self._batch(dataset.train, widths[-1], dtype)
        self.test = self._batch(dataset.test, widths[-1], dtype)
        self.test_labels = jnp.asarray(dataset.test.y)
        self.probe = self._batch(data.Split(*(a[:PROBE] for a in dataset.train)), widths[-1], dtype)
        self.states = {n: start(self.key) for n in names}  # each engine donates buffers of its own
        self.evaluate = {n: epoch.make_evaluate(e) for n, e in engines.items()}
        self.gradient = {n: epoch.make_gradient(e) for n, e in engines.items()}
        self.epoch, self.compile_s = {}, {}
        for name, engine in engines.items():
            began = time.perf_counter()
            make = epoch.make_epoch(engine, optimizer, settings.batch_size)
            example = (self.states[name], self.train, self.key, np.uint32(0))
            self.epoch[name] = make.lower(*example).compile()
            self.compile_s[name] = time.perf_counter() - began
        self.checksum = zlib.crc32(
            b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves((self.train, rates)))
        )

    def _batch(self, split: data.Split, classes: int, dtype: Any) -> epoch.Batch:
        labelled = self.settings.loss == "softmax_cross_entropy"
        targets = split.y if labelled else np.eye(classes)[split.y].astype(dtype)
        return jnp.asarray(split.x.astype(dtype)), jnp.asarray(targets)

    def run_epoch(self, number: int) -> dict[str, Any]:
        """Train each engine for one epoch and return what came of it."""
        names = list(self.states) if number % 2 else list(self.states)[::-1]  # no one always first
        engines: dict[str, Any] = dict.fromkeys(self.states)
        for name in names:
            start = time.perf_counter()
            state, losses = self.epoch[name](self.states[name], self.train, self.key, np.uint32(number))
            self.states[name] = jax.block_until_ready(state)
            us_per_step = 1e6 * (time.perf_counter() - start) / self.steps
            loss, accuracy = self.evaluate[name](state.params, self.test, self.test_labels)
            engines[name] = {
                "train_loss": float(np.asarray(losses, np.float64).mean()),
                "test_loss": float(loss),
                "test_accuracy": float(accuracy),
                "us_per_step": us_per_step,
            }
        params = [state.params for state in self.states.values()]
        grads = [gradient(params[0], self.probe) for gradient in self.gradient.values()]
        differences, norms = epoch.compare(grads[0], grads[-1])
        both = len(params) == 2
        return {
            "epoch": number,
            "engines": engines,
            "gradient_difference": np.asarray(differences, np.float64).tolist() if both else None,
            "gradient_norm": np.asarray(norms, np.float64).tolist(),
            "parameter_distance": float(epoch.distance(*params)) if both else None,
        }

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to be gone on from."""
        apart = {"out", "resume", "overwrite", "data_dir"}
        if self.settings.schedule == "constant":
            apart.add("epochs")  # nothing depends on how many there will be
        settings = {k: v for k, v in dataclasses.asdict(self.settings).items() if k not in apart}
        return settings | {"widths": self.widths, "data and rates": self.checksum}

    @property
    def params(self) -> Any:
        """The params of the first engine."""
        return next(iter(self.states.values())).params

    @property
    def widths(self) -> list[int]:
        """The widths of all layers, input and output included."""
        layers = self.params.layers
        return [layers[0].w.shape[0], *(layer.w.shape[1] for layer in layers)]


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


def run(
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
            if interruption.requested and number < epochs:
                return True
    return False
