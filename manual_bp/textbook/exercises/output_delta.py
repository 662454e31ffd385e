"""The delta of the output layer.

One example, O sigmoid outputs, the quadratic cost:

    a_j = s(z_j) = 1/(1 + e^(-z_j))             z (O,), a (O,)             (1)
    E   = 1/2 sum_j (a_j - y_j)^2               E a number                 (2)

The targets y (O,) are integers, 0 or 1, and need no gradient. dE is the
derivative by E of whatever is made of E: 1, if E is the end. Write dz (O,),
which is dE times the delta of the output layer.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from manual_bp.textbook.exercises.exercise import normal

SAVED = ("a", "y")
RETURNS = ("dz",)
HINT = """The chain rule has two factors: how E changes with a_j, by (2), and how a_j changes with
z_j, by (1). The derivative of the sigmoid can be had from its value alone."""

Residuals = tuple[Float[Array, " O"], Float[Array, " O"]]


def example() -> tuple[Array, ...]:
    """A z and a y."""
    return *normal((5,)), jnp.array([0, 1, 1, 0, 1])


def fwd(z: Float[Array, " O"], y: Integer[Array, " O"]) -> tuple[Float[Array, ""], Residuals]:
    """E, and what is kept for the way back."""
    a, y = jax.nn.sigmoid(z), y.astype(z.dtype)  # (1)
    return jnp.sum((a - y) ** 2) / 2, (a, y)  # (2)


def bwd(residuals: Residuals, dE: Float[Array, ""]) -> Float[Array, " O"]:
    """The solution."""
    a, y = residuals
    da = dE * (a - y)  # by (2)
    return da * a * (1 - a)  # by (1): s' = s (1 - s)
