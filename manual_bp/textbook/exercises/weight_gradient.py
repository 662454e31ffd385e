"""The weight gradient of a batch.

B examples are rows; w_io leads from input i to neuron o:

    z_bo = sum_i x_bi w_io,   z = x W           x (B, I), W (I, O)         (1)

Given dz (B, O), write dx (B, I) and dW (I, O).
"""

from jaxtyping import Array, Float

from manual_bp.textbook.exercises.exercise import normal

SAVED = ("x", "W")
RETURNS = ("dx", "dW")
HINT = """Write both as sums of products with indices first: dx_bi = sum over o of ..., dw_io = sum
over b of ... Then find the product of matrices that sums over that index; the shapes leave one
choice."""

Residuals = tuple[Float[Array, "B I"], Float[Array, "I O"]]


def example() -> tuple[Array, ...]:
    """An x and a W."""
    return normal((4, 5), (5, 3))


def fwd(x: Float[Array, "B I"], W: Float[Array, "I O"]) -> tuple[Float[Array, "B O"], Residuals]:
    """The product z, and its factors."""
    return x @ W, (x, W)  # (1)


def bwd(residuals: Residuals, dz: Float[Array, "B O"]) -> tuple[Float[Array, "B I"], Float[Array, "I O"]]:
    """The solution."""
    x, W = residuals
    dx = dz @ W.T  # dx_bi = sum_o dz_bo w_io
    dW = x.T @ dz  # dw_io = sum_b x_bi dz_bo
    return dx, dW
