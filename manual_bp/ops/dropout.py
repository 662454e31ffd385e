r"""Dropout: entries are zero at random, and the others are larger for it.   Axes: B any.

    y_b  = x_b k_b / (1 - rate),    k_b = 1 with probability 1 - rate, else 0    (1)

    dx_b = dy_b k_b / (1 - rate)                                    (2)

The mask k is drawn from the key, in both passes, so that no array of it lies between them. With rate 0 y is
x; with rate 1 nothing is kept, and y and dx are zero. At evaluation leave the op out.

Saved: the key.  Srivastava et al. 2014, jmlr.org/papers/v15/srivastava14a.html.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from manual_bp import checks
from manual_bp.precision import wide


def fwd(
    x: Float[Array, "*B"], key: Key[Array, ""], *, rate: float
) -> tuple[Float[Array, "*B"], Key[Array, ""]]:
    """The output `y` (*B), and the key. `rate` is the fraction of entries that become zero."""
    checks.floating("dropout", x=x)
    _check(key, rate)
    return _kept(x, key, float(rate)), key  # (1)


def bwd(key: Key[Array, ""], dy: Float[Array, "*B"], *, rate: float) -> Float[Array, "*B"]:
    """The cotangent of `x`."""
    checks.floating("dropout", dy=dy)
    _check(key, rate)
    return _kept(dy, key, float(rate))  # (2)


def _kept(x: Array, key: Array, rate: float) -> Array:
    """What the key keeps of `x`, over 1 - rate."""
    if rate == 1:
        return jnp.zeros_like(x)
    kept = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(kept, (wide(x) / (1 - rate)).astype(x.dtype), 0)


def is_key(value: Any) -> bool:
    """Whether `value` is a key of `jax.random.key`."""
    return hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jax.dtypes.prng_key) and value.shape == ()


def _check(key: Any, rate: Any) -> None:
    checks.option("dropout", "key", key, is_key(key), "one key of jax.random.key")
    checks.number("dropout", "rate", rate, lambda r: 0 <= r <= 1, "a number in 0..1")
