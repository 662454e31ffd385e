"""Kinks that a central difference meets with relu, how many are expected, and the error there: (4)."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from experiments.common.numerical import central
from experiments.step_size.loss import affine, as_params, mean_loss, truth


@jax.jit
def kinks(
    rows: Int[Array, "D B"],
    thetas: Float[Array, "D P"],
    directions: Float[Array, "D P"],
    steps: Float[Array, "S"],
    x: Float[Array, "N I"],
    labels: Int[Array, "N"],
) -> tuple[Bool[Array, "D S"], Float[Array, "D S"], Float[Array, "D S"]]:
    """For each network, direction and batch: is a kink met, the chance of it by (4), and the error of (2)."""

    def case(arguments: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        batch, theta, v = arguments
        xb, yb = x[batch], labels[batch]
        f = partial(mean_loss, x=xb, labels=yb, activation="relu")
        _, gradient, rms = truth(theta, xb, yb, "relu")
        z, dz = (affine(as_params(vector).layers[0], xb) for vector in (theta, v))
        spread = jnp.sqrt(2 * (jnp.sum(jnp.square(xb), -1, keepdims=True) + 1) / theta.size)

        def at(h: Array) -> tuple[Array, Array, Array]:
            met = (z + h * dz > 0) != (z - h * dz > 0)
            p = jax.lax.erfc(jnp.abs(z) / (h * spread))  # (4)
            error = jnp.abs(central(f, theta, v, h) - jnp.vdot(gradient, v)) / rms
            return jnp.any(met), 1 - jnp.prod(1 - p), error

        return jax.lax.map(at, steps)

    return jax.lax.map(case, (rows, thetas, directions), batch_size=20)
