r"""Rotary position embedding.   Axes: B batch, T time, H heads, D head dimension, i pairs of features.

With the angle of pair i at position n_t

    a_ti = n_t base^(-2i/D)                                         (1)

a pair (x_1, x_2) of a head is turned by it:

    y_1 = x_1 cos a - x_2 sin a,    y_2 = x_2 cos a + x_1 sin a     (2)

and its cotangent is turned back, as a rotation's transpose is its inverse:

    dx_1 = dy_1 cos a + dy_2 sin a,    dx_2 = dy_2 cos a - dy_1 sin a       (3)

With a `scaling`, for texts beyond those that a model was first trained on, the angles of slow pairs are
slower by a factor f:

    a_ti = n_t base^(-2i/D) ((1 - s_i) / f + s_i)                   (4)
    s_i  = 0 if pair i turns fewer than `low` times in `context` positions, 1 if more than `high` times,
           and between them what lies between     (Llama 3.1), or 0 without a `context` (linear)

Pair i are the features i and i + D/2 (as Llama and Hugging Face have it), or, `interleaved`, 2i and 2i + 1
(as in the paper and in GPT-J). Angles are in at least float32.

Saved: the positions.  Su et al. 2021, arXiv:2104.09864; Chen et al. 2023, arXiv:2306.15595 (linear);
Grattafiori et al. 2024, arXiv:2407.21783 (Llama 3).
"""

from math import inf, pi
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Integer

from manual_bp import checks
from manual_bp.precision import accumulator


class Scaling(NamedTuple):
    """(4); `context` None for all pairs slower by `factor`."""

    factor: float
    context: int | None = None
    low: float = 1.0
    high: float = 4.0


def fwd(
    x: Float[Array, "B T H D"],
    positions: Integer[Array, "..."] | None = None,
    *,
    base: float = 10000.0,
    interleaved: bool = False,
    scaling: Scaling | None = None,
) -> tuple[Float[Array, "B T H D"], Integer[Array, "..."]]:
    """`x` turned by its positions, (T,) or (B, T) integers: 0, 1, ... if there are none."""
    _check("x", x, positions, base, interleaved, scaling)
    if positions is None:
        positions = jnp.arange(x.shape[1], dtype=jnp.int32)
    return _turned(x, positions, 1, interleaved, base, scaling), positions  # (2)


def bwd(
    positions: Integer[Array, "..."],
    dy: Float[Array, "B T H D"],
    *,
    base: float = 10000.0,
    interleaved: bool = False,
    scaling: Scaling | None = None,
) -> Float[Array, "B T H D"]:
    """The cotangent of `x`."""
    _check("dy", dy, positions, base, interleaved, scaling)
    return _turned(dy, positions, -1, interleaved, base, scaling)  # (3)


def _turned(
    x: Float[Array, "B T H D"],
    positions: Array,
    sense: int,
    interleaved: bool,
    base: float,
    scaling: Scaling | None,
) -> Float[Array, "B T H D"]:
    dtype, width = accumulator(x.dtype), x.shape[-1]
    frequency = _frequency(width, dtype, base, scaling)
    at = positions.astype(dtype)[..., None]
    angle = at * jnp.broadcast_to(frequency, (*positions.shape, width // 2))
    angle = jnp.expand_dims(angle, -2) if positions.ndim == 2 else angle[None, :, None]
    axis = -1 if interleaved else -2
    pairs = jnp.reshape(
        x.astype(dtype), (*x.shape[:-1], *((width // 2, 2) if interleaved else (2, width // 2)))
    )
    first, second = (jnp.take(pairs, n, axis) for n in (0, 1))
    cos, sin = (jnp.broadcast_to(f(angle), first.shape) for f in (jnp.cos, jnp.sin))
    turned = jnp.stack([first * cos - sense * second * sin, second * cos + sense * first * sin], axis)
    return jnp.reshape(turned, x.shape).astype(x.dtype)


def _frequency(width: int, dtype: DTypeLike, base: float, scaling: Scaling | None) -> Float[Array, "P"]:
    """The angle of each pair from one position to the next."""
    plain = jnp.asarray(base, dtype) ** (-jnp.arange(0, width, 2, dtype=dtype) / width)  # (1)
    if scaling is None:
        return plain
    factor, context, low, high = scaling
    share = jnp.zeros_like(plain)
    if context is not None:
        share = jnp.clip((plain * (context / (2 * pi)) - float(low)) / float(high - low), 0, 1)
    return plain * ((1 - share) / float(factor) + share)  # (4)


def _check(
    name: str,
    x: Array,
    positions: Array | None,
    base: float,
    interleaved: bool,
    scaling: Scaling | None,
) -> None:
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
    if scaling is not None:
        checks.params("rope", scaling, Scaling, "scaling")
        factor, context, low, high = scaling
        checks.number("rope", "scaling.factor", factor, lambda f: 0 < f < inf, "a positive number")
        fits = context is None or checks.is_count(context)
        checks.option("rope", "scaling.context", context, fits, "a positive integer, or None")
        checks.number("rope", "scaling.low", low, lambda n: 0 <= n < inf, "a number of at least 0")
        checks.number("rope", "scaling.high", high, lambda n: low < n < inf, f"a number above low={low}")
