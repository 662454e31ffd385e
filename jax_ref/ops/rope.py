"""Rotary position embedding, as a product of complex numbers."""

from typing import Any

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
    scaling: Any = None,
) -> Float[Array, "B T H D"]:
    """Each pair of features times e^(i angle): neighbours, or those half the width apart.

    `scaling` has a `factor`, by which wavelengths are longer, and a `context` or None: wavelengths below its
    share `high` are left, and those between that and its share `low` are mixed.
    """
    wide, width = at_least_float32(x), x.shape[-1]
    if positions is None:
        positions = jnp.arange(x.shape[1])
    positions = jnp.broadcast_to(jnp.reshape(positions, (-1, x.shape[1])), x.shape[:2])
    exponents = jnp.arange(width // 2).astype(wide.dtype) * (-2 / width)
    frequencies = base**exponents
    if scaling is not None:
        frequencies = _scaled(frequencies, scaling)
    angles = jnp.expand_dims(positions, (2, 3)).astype(wide.dtype) * jnp.expand_dims(frequencies, (0, 1, 2))
    turn = jax.lax.complex(jnp.cos(angles), jnp.sin(angles))
    if interleaved:
        y = jax.lax.complex(wide[..., ::2], wide[..., 1::2]) * turn
        turned = jnp.reshape(jnp.stack([jnp.real(y), jnp.imag(y)], -1), x.shape)
    else:
        y = jax.lax.complex(*jnp.split(wide, 2, -1)) * turn
        turned = jnp.concatenate([jnp.real(y), jnp.imag(y)], -1)
    return turned.astype(x.dtype)


def _scaled(frequencies: Array, scaling: Any) -> Array:
    """As Hugging Face computes them: by wavelength, in three cases."""
    slow = frequencies / scaling.factor
    if scaling.context is None:
        return slow
    wavelengths = 2 * jnp.pi / frequencies
    share = (scaling.context / wavelengths - scaling.low) / (scaling.high - scaling.low)
    mixed = (1 - share) * slow + share * frequencies
    is_long = wavelengths > scaling.context / scaling.low if scaling.low else False
    is_short = wavelengths < scaling.context / scaling.high
    return jnp.where(is_short, frequencies, jnp.where(is_long, slow, mixed))
