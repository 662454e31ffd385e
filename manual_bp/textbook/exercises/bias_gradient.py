"""The bias gradient of a batch.

B examples are rows. Each of O neurons adds its bias to what its weights gave
it:

    z_bo = u_bo + b_o                           u, z (B, O), b (O,)        (1)

Given dz (B, O), write du (B, O) and db (O,).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp.textbook.exercises.exercise import normal

SAVED = ()
RETURNS = ("du", "db")
HINT = """How many of the z_bo does one u_bo reach, and how many does one b_o? What reaches the end
by several ways has the sum over all of them."""


def example() -> tuple[Array, ...]:
    """A u and a b."""
    return normal((4, 3), (3,))


def fwd(u: Float[Array, "B O"], b: Float[Array, " O"]) -> tuple[Float[Array, "B O"], None]:
    """The sum z; nothing is kept."""
    return u + b[None], None  # (1)


def bwd(residuals: None, dz: Float[Array, "B O"]) -> tuple[Float[Array, "B O"], Float[Array, " O"]]:
    """The solution."""
    return dz, jnp.sum(dz, axis=0)  # each b_o is in the z of all B examples
