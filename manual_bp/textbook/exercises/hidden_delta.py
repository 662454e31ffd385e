"""The delta of a hidden layer.

B examples, H hidden neurons, O neurons after them:

    a_bh = s(z_bh) = 1/(1 + e^(-z_bh))          z, a (B, H)                (1)
    u_bo = sum_h a_bh w_ho,   u = a W           W (H, O), u (B, O)         (2)

Given du (B, O), the delta of the layer after it, write dz (B, H), that of this
one, and dW (H, O). Of the way forward a is kept, not z.
"""

import jax
from jaxtyping import Array, Float

from manual_bp.textbook.exercises.exercise import normal

SAVED = ("a", "W")
RETURNS = ("dz", "dW")
HINT = """Backward is forward in reverse: first (2), which is exercise 3 and gives da, then (1),
which is elementwise. s'(z) is needed, and s(z) = a is what there is."""

Residuals = tuple[Float[Array, "B H"], Float[Array, "H O"]]


def example() -> tuple[Array, ...]:
    """A z and a W."""
    return normal((4, 5), (5, 3))


def fwd(z: Float[Array, "B H"], W: Float[Array, "H O"]) -> tuple[Float[Array, "B O"], Residuals]:
    """The sums u of the next layer."""
    a = jax.nn.sigmoid(z)  # (1)
    return a @ W, (a, W)  # (2)


def bwd(residuals: Residuals, du: Float[Array, "B O"]) -> tuple[Float[Array, "B H"], Float[Array, "H O"]]:
    """The solution."""
    a, W = residuals
    da, dW = du @ W.T, a.T @ du  # by (2)
    dz = da * a * (1 - a)  # by (1)
    return dz, dW
