"""The error of each numerical derivative with each step, where the loss is smooth: (1) to (3)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from experiments.common import study
from experiments.common.numerical import central, complex_step, forward
from experiments.step_size.loss import mean_loss, truth

METHODS = {"forward": forward, "central": central, "complex step": complex_step}

STEPS = np.array([*10.0 ** (1 - np.arange(52) / 3), 1e-20, 1e-30])
"""Largest first; 1e-30 is near the smallest numbers of float32."""


@partial(jax.jit, static_argnames="method")
def estimates(theta: Array, directions: Array, steps: Array, x: Array, labels: Array, method: str) -> Array:
    """What a method makes of f' with each step along each direction (S, D), in the dtype of theta (P,)."""
    f = partial(mean_loss, x=x, labels=labels, activation="sigmoid")
    along = jax.vmap(lambda v, h: METHODS[method](f, theta, v, h), in_axes=(0, None))
    return jax.lax.map(lambda h: along(directions, h), steps)


def errors(theta: Array, directions: Array, x: Array, labels: Array) -> study.Figures:
    """The curve of each method in both dtypes, measured and in theory, and what is read off it."""

    def slope(v: Array, t: float) -> Array:
        return jnp.vdot(truth(wide + t * v, x, labels, "sigmoid")[1], v)

    wide, t = theta.astype(x.dtype), 1e-2
    slopes = partial(jax.jit(jax.vmap(slope, in_axes=(0, None))), directions.astype(x.dtype))
    ahead, here, behind = slopes(t), slopes(0.0), slopes(-t)
    derivatives = here, (ahead - behind) / (2 * t), (ahead - 2 * here + behind) / t**2
    f, rms = (float(value) for value in truth(wide, x, labels, "sigmoid")[::2])
    f1, f2, f3 = (float(jnp.median(jnp.abs(values))) for values in derivatives)  # enough for the theory
    figures: study.Figures = {"float64": {}, "float32": {}}
    for dtype, by_method in figures.items():
        eps = float(jnp.finfo(dtype).eps)
        theory = {  # truncation, rounding, h* and its power of eps
            "forward": (STEPS * f2 / 2, eps * f / STEPS, 2 * eps * f / f2, 1 / 2),  # (1)
            "central": (STEPS**2 * f3 / 6, eps * f / STEPS, 3 * eps * f / f3, 1 / 3),  # (2)
            "complex step": (STEPS**2 * f3 / 6, eps * f1, 6 * eps * f1 / f3, 1 / 2),  # (3)
        }
        arguments = theta.astype(dtype), directions.astype(dtype), jnp.asarray(STEPS, dtype), x, labels
        for method, (truncation, rounding, base, power) in theory.items():
            off = jnp.abs(estimates(*arguments, method=method).astype(x.dtype) - here[None])
            error = np.median(off, axis=1) / rms
            by_method[method] = {
                **_summary(error, flat=method == "complex step"),
                "theory_step": base**power,
                "textbook_error": float(error[np.abs(np.log(STEPS / eps**power)).argmin()]),
                "theory": ((truncation + rounding) / rms).tolist(),
            }
    return figures


def _summary(error: np.ndarray, *, flat: bool) -> study.Figures:
    """The best step, of a flat curve the largest within twice the least error, and the order beyond it."""
    best = int(np.argmax(error <= 2 * error.min()) if flat else np.argmin(error))
    beyond = (3 * STEPS[best] < STEPS) & (error < 0.02)
    order = np.polyfit(np.log(STEPS[beyond]), np.log(error[beyond]), 1)[0] if beyond.sum() > 1 else None
    least = {"best_step": float(STEPS[best]), "best_error": float(error[best])}
    return {"error": error.tolist(), **least, "order": None if order is None else float(order)}
