r"""Rotary position embedding.   Axes: B batch, T time, H heads, D head dimension, i pairs of features.

With the angle of pair i at position n_t

    a_ti = n_t base^(-2i/D)                                         (1)

a pair (x_1, x_2) of a head is turned by it:

    y_1 = x_1 cos a - x_2 sin a,    y_2 = x_2 cos a + x_1 sin a     (2)

and its cotangent is turned back, as a rotation's transpose is its inverse:

    dx_1 = dy_1 cos a + dy_2 sin a,    dx_2 = dy_2 cos a - dy_1 sin a       (3)

Pair i are the features i and i + D/2 (as Llama and Hugging Face have it), or, `interleaved`, 2i and 2i + 1
(as in the paper and in GPT-J). Angles are in at least float32.

Saved: the positions.  Su et al. 2021, arXiv:2104.09864.
"""

from math import inf

import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from manual_bp import checks
from manual_bp.precision import accumulator


def fwd(
    x: Float[Array, "B T H D"],
    positions: Integer[Array, "..."] | None = None,
    *,
    base: float = 10000.0,
    interleaved: bool = False,
) -> tuple[Float[Array, "B T H D"], Integer[Array, "..."]]:
    """`x` turned by its positions, (T,) or (B, T) integers: 0, 1, ... if there are none."""
    _check("x", x, positions, base, interleaved)
    if positions is None:
        positions = jnp.arange(x.shape[1], dtype=jnp.int32)
    return _turned(x, positions, 1, base, interleaved), positions  # (2)


def bwd(
    positions: Integer[Array, "..."],
    dy: Float[Array, "B T H D"],
    *,
    base: float = 10000.0,
    interleaved: bool = False,
) -> Float[Array, "B T H D"]:
    """The cotangent of `x`."""
    _check("dy", dy, positions, base, interleaved)
    return _turned(dy, positions, -1, base, interleaved)  # (3)


def _turned(
    x: Float[Array, "B T H D"], positions: Array, sense: int, base: float, interleaved: bool
) -> Float[Array, "B T H D"]:
    dtype, width = accumulator(x.dtype), x.shape[-1]
    frequency = jnp.asarray(base, dtype) ** (-jnp.arange(0, width, 2, dtype=dtype) / width)
    at = positions.astype(dtype)[..., None]
    angle = at * jnp.broadcast_to(frequency, (*positions.shape, width // 2))  # (1)
    angle = jnp.expand_dims(angle, -2) if positions.ndim == 2 else angle[None, :, None]
    axis = -1 if interleaved else -2
    pairs = jnp.reshape(
        x.astype(dtype), (*x.shape[:-1], *((width // 2, 2) if interleaved else (2, width // 2)))
    )
    first, second = (jnp.take(pairs, n, axis) for n in (0, 1))
    cos, sin = (jnp.broadcast_to(f(angle), first.shape) for f in (jnp.cos, jnp.sin))
    turned = jnp.stack([first * cos - sense * second * sin, second * cos + sense * first * sin], axis)
    return jnp.reshape(turned, x.shape).astype(x.dtype)


def _check(name: str, x: Array, positions: Array | None, base: float, interleaved: bool) -> None:
    checks.floating("rope", **{name: x})
    if x.ndim != 4 or x.shape[-1] % 2:
        expected = "four axes (batch, time, heads, head_dim), the last even"
        raise ValueError(f"rope: {name} has shape {x.shape}; expected {expected}")
    if positions is not None:
        checks.integers("rope", positions=positions)
        if positions.shape not in (x.shape[:2], x.shape[1:2]):
            expected = f"{x.shape[1:2]} or {x.shape[:2]}, as {name} has shape {x.shape}"
            raise ValueError(f"rope: positions has shape {positions.shape}; expected {expected}")
    checks.number("rope", "base", base, lambda b: 0 < b < inf, "a positive number")
    checks.flag("rope", "interleaved", interleaved)
