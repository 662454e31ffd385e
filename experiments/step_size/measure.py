"""The error of each method with each step in both dtypes, then the kinks of relu."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from experiments import data
from experiments.common import errors, study
from experiments.common.options import Count
from experiments.step_size import smooth
from experiments.step_size.kinks import kinks
from experiments.step_size.loss import SCALES


@dataclasses.dataclass(frozen=True)
class Settings(study.Settings):
    """What this study can be told."""

    examples: Count = 32
    """Digits that the loss with sigmoid averages over."""
    directions: Count = 200
    """Random directions; with relu each of them has its own network and digits."""
    batch_sizes: tuple[Count, ...] = (1, 4, 16, 64, 256, 1024)
    """Numbers of digits that the loss with relu averages over."""
    kink_steps: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
    """Steps of the central differences with relu, in float64."""


def measure(settings: Settings) -> study.Figures:
    """The error of each method with each step in both dtypes, then the kinks of relu."""
    images, classes = data.rows(data.digits.load()).train
    _check(settings, len(images))
    x, labels = jnp.asarray(images, jnp.float64), jnp.asarray(classes)
    rng, shape = np.random.default_rng(settings.seed), (settings.directions, SCALES.size)
    thetas = jnp.asarray(SCALES * rng.standard_normal(shape), jnp.float32)
    v = rng.standard_normal(shape)
    v = jnp.asarray(v / np.linalg.norm(v, axis=1, keepdims=True), jnp.float32)
    figures = {
        "steps": smooth.STEPS.tolist(),
        "errors": smooth.errors(thetas[0], v, x[: settings.examples], labels[: settings.examples]),
        "kink_steps": list(settings.kink_steps),
        "kinks": {},
    }
    order = rng.permuted(np.tile(np.arange(len(x)), (len(v), 1)), axis=1)
    cases = thetas.astype(x.dtype), v.astype(x.dtype), jnp.asarray(settings.kink_steps), x, labels
    for size in settings.batch_sizes:
        met, chance, error = map(np.asarray, kinks(jnp.asarray(order[:, :size]), *cases))
        figures["kinks"][str(size)] = {
            "crossing": np.mean(met, axis=0).tolist(),
            "crossing_theory": np.mean(chance, axis=0).tolist(),
            "median_error": np.median(error, axis=0).tolist(),
            "error_95": np.quantile(error, 0.95, axis=0).tolist(),
        }
    return figures


def _check(settings: Settings, count: int) -> None:
    digits = (1, count)
    limits = {"directions": (1, 1e5), "examples": digits, "batch_sizes": digits, "kink_steps": (1e-12, 10)}
    for option, (low, high) in limits.items():
        values = np.atleast_1d(getattr(settings, option)).tolist()
        if not values or not all(low <= value <= high for value in values):
            shown = f"--{option.replace('_', '-')} was {' '.join(map(str, values))}"
            raise errors.UserError(f"{shown}; expected {low:g} to {high:g}.")
