"""Rotary position embedding, as a product of complex numbers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from jax_ref.precision import at_least_float32


def apply(
    x: Float[Array, "B T H D"],
    positions: Integer[Array, "..."] | None = None,
    *,
    base: float = 10000.0,
    interleaved: bool = False,
) -> Float[Array, "B T H D"]:
    """Each pair of features times e^(i angle): neighbours, or those half the width apart."""
    wide, width = at_least_float32(x), x.shape[-1]
    if positions is None:
        positions = jnp.arange(x.shape[1])
    positions = jnp.broadcast_to(jnp.reshape(positions, (-1, x.shape[1])), x.shape[:2])
    exponents = jnp.arange(width // 2).astype(wide.dtype) * (-2 / width)
    angles = jnp.expand_dims(positions, (2, 3)).astype(wide.dtype) * jnp.expand_dims(
        base**exponents, (0, 1, 2)
    )
    turn = jax.lax.complex(jnp.cos(angles), jnp.sin(angles))
    if interleaved:
        y = jax.lax.complex(wide[..., ::2], wide[..., 1::2]) * turn
        turned = jnp.reshape(jnp.stack([jnp.real(y), jnp.imag(y)], -1), x.shape)
    else:
        y = jax.lax.complex(*jnp.split(wide, 2, -1)) * turn
        turned = jnp.concatenate([jnp.real(y), jnp.imag(y)], -1)
    return turned.astype(x.dtype)
