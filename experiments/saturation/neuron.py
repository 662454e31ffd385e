"""One sigmoid neuron, by gradient descent from an easy start and from a saturated one: (3)."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.common import study
from experiments.saturation import epochs
from experiments.saturation.costs import COSTS
from manual_bp.ops.activations import sigmoid

STARTS = {"easy": (0.6, 0.9), "bad": (2.0, 2.0)}
"""Weight and bias."""


@partial(jax.jit, static_argnames=("cost", "epochs"))
def descend(start: Float[Array, "2"], rate: float, *, cost: str, epochs: int) -> tuple[Array, Array]:
    """One neuron's output and |dC/dw| before every epoch and after the last, each (epochs + 1,)."""

    def epoch(w_b: Array, _: Any) -> tuple[Array, tuple[Array, Array]]:
        z = jnp.sum(w_b, keepdims=True)
        _, dz = COSTS[cost](z, jnp.zeros_like(z))
        return w_b - rate * dz, (sigmoid.fwd(z)[0][0], jnp.abs(dz)[0])  # (3)

    return jax.lax.scan(epoch, start, length=epochs + 1)[1]


def figures(start: str, cost: str, *, rate: float, number: int) -> study.Figures:
    """What `number` epochs from a start show."""
    found = descend(jnp.array(STARTS[start]), rate, cost=cost, epochs=number)
    output, gradient = map(np.asarray, found)
    return {
        "output": output.tolist(),
        "gradient": gradient.tolist(),
        "slope": float(output[0] * (1 - output[0])),
        "epochs_to_0.9": epochs.first(output < 0.9),
        "epochs_to_0.5": epochs.first(output < 0.5),
        "steepest_epoch": int(np.argmin(np.diff(output))),
        "first_gradient": float(gradient[0] / gradient.max()),
    }
