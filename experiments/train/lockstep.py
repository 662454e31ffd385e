"""Two engines that train one model in lockstep, round by round, on the same batches from one start."""

import dataclasses
import time
import zlib
from typing import Any

import jax
import numpy as np

from experiments.common.errors import UserError
from experiments.train import agreement, demand, devices, epoch, loss_scale, optimizers, rates
from experiments.train.engines import ENGINES
from experiments.train.parts import parts
from experiments.train.recipe import Recipe
from experiments.train.settings import Settings


class Lockstep:
    """The engines (or one): compiled functions, states, and the data on the devices."""

    def __init__(self, settings: Settings, recipe: Recipe, train: Any, test: Any) -> None:
        self.settings, self.recipe = settings, recipe
        self.devices = devices.of(recipe, settings.split)
        key = jax.random.key(settings.seed)
        arrays = recipe.arrays(train)
        count = recipe.count(arrays)
        if settings.round_steps is None and settings.batch_size > count:
            raise UserError(
                f"--batch-size was {settings.batch_size}; the training data has only {count} examples."
            )
        self.steps = epoch.steps_in(count, settings.batch_size, settings.round_steps)

        @jax.jit
        def init(key: jax.Array) -> Any:
            return recipe.init(jax.random.fold_in(key, 0))  # the rounds fold in 1, 2, ...

        demand.check(settings, recipe, arrays, self.steps, self.devices.parts)
        self.parts: list[str] = []  # filled while it is traced: as an output of it, names would be sorted
        jax.eval_shape(lambda key: self.parts.extend(parts(init(key), recipe.stacked)), key)
        factors = None
        if settings.rates != "uniform":
            factors = jax.tree.map(np.asarray, rates.read(settings.rates, init(key), recipe.stacked))
        optimizer = optimizers.build(
            settings.optimizer,
            settings.learning_rate,
            schedule=settings.schedule,
            steps=self.steps * settings.epochs,
            weight_decay=settings.weight_decay,
            clip_norm=settings.clip_norm,
            warmup_steps=settings.warmup_steps,
            decayed=recipe.decayed,
            rates=factors,
        )

        def start(key: jax.Array) -> epoch.State:
            params = init(key)
            model = None if recipe.state is None else recipe.state(params)
            scale = loss_scale.start() if settings.dtype == "float16" else None
            return epoch.State(params, optimizer.init(params), model, scale)

        self.checksum = zlib.crc32(
            b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves((arrays, factors)))
        )
        probed = self.devices.share(min(max(recipe.probe, settings.batch_size), count), recipe.microbatches)
        probe = recipe.batch(arrays, np.arange(probed), key)
        put = self.devices.put
        self.key, self.train, self.test = put(key), put(arrays), put(recipe.arrays(test))
        self.probe = self.devices.put_batch(probe)
        names = list(ENGINES) if settings.engine == "both" else [settings.engine]
        plain = {name: ENGINES[name](recipe) for name in names}
        engines = {name: self.devices.engine(name) for name in names}
        shapes = jax.eval_shape(start, key)
        begin = jax.jit(start, out_shardings=self.devices.layout(shapes))
        self.states = {name: begin(self.key) for name in names}  # each donates buffers of its own
        jit = self.devices.jit
        self.evaluate = {name: jit(epoch.make_evaluate(engine, recipe)) for name, engine in plain.items()}
        self.gradient = {name: agreement.make_gradient(engine) for name, engine in engines.items()}
        self.compare = jit(agreement.make_compare(recipe.stacked))
        self.distance = jit(agreement.distance)
        self.sample = None if recipe.sample is None else jit(epoch.make_sample(plain[names[0]], recipe))
        self.round, self.compile_s = {}, {}
        for name, engine in engines.items():
            began = time.perf_counter()
            run = epoch.make_round(
                engine,
                recipe,
                optimizer,
                batch_size=settings.batch_size,
                steps=settings.round_steps,
                layout=self.devices.layout_of_round(shapes),
            )
            self.round[name] = run.lower(self.states[name], self.train, self.key, np.uint32(0)).compile()
            self.compile_s[name] = time.perf_counter() - began

    def run_round(self, number: int) -> dict[str, Any]:
        """Train each engine for one round and return what came of it."""
        names = list(self.states) if number % 2 else list(self.states)[::-1]  # no one always first
        engines: dict[str, Any] = dict.fromkeys(self.states)
        for name in names:
            start = time.perf_counter()
            state, losses = self.round[name](self.states[name], self.train, self.key, np.uint32(number))
            self.states[name] = jax.block_until_ready(state)
            us_per_step = 1e6 * (time.perf_counter() - start) / self.steps
            metrics = self.evaluate[name](state.params, state.model, self.test)
            engines[name] = {
                "train_loss": float(np.asarray(losses, np.float64).mean()),
                **{metric: float(value) for metric, value in metrics.items()},
                "us_per_step": us_per_step,
                **_scaling(state.scale),
            }
        states = list(self.states.values())
        first, last = states[0], states[-1]
        grads = [gradient(first.params, first.model, self.probe) for gradient in self.gradient.values()]
        differences, norms = self.compare(grads[0], grads[-1])
        both = len(states) == 2
        record = {
            "epoch": number,
            "engines": engines,
            "gradient_difference": np.asarray(differences, np.float64).tolist() if both else None,
            "gradient_norm": np.asarray(norms, np.float64).tolist(),
            "parameter_distance": float(self.distance(first.params, last.params)) if both else None,
        }
        if self.sample is not None:
            drawn = self.sample(first.params, first.model, self.key, np.uint32(number))
            record["sample"] = self.recipe.text(np.asarray(drawn))
        return record

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to be gone on from."""
        apart = {"out", "resume", "overwrite", "data_dir", "text"}
        apart |= {"processes", "split", "coordinator", "process_id"}  # a checkpoint has whole arrays
        if self.settings.schedule == "constant":
            apart.add("epochs")  # nothing depends on how many there will be
        settings = {k: v for k, v in dataclasses.asdict(self.settings).items() if k not in apart}
        return {**settings, **self.recipe.identity, "data and rates": self.checksum}


def _scaling(scale: loss_scale.LossScale | None) -> dict[str, Any]:
    """The loss scale after a round, and how many steps have been skipped for an overflow so far."""
    return {} if scale is None else {"loss_scale": float(scale.scale), "skipped_steps": int(scale.skipped)}
