"""The norms of the state's cotangents at each step of the past, (1), and what is expected of them."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from experiments.through_time.networks import Network


def of_states(state: Any) -> Float[Array, "1 H"]:
    """The h of a state."""
    return getattr(state, "h", state)


def norms(
    network: Network, x: Float[Array, "T I"], dh: Float[Array, "H"]
) -> tuple[Float[Array, "T+1"], Float[Array, "T H"]]:
    """||dh_t|| for t = 0..T, where dh_T is `dh`; and h_t for t = 1..T."""
    op, params, first, static = network

    def forward(state: Any, x_t: Array) -> tuple[Any, Any]:
        (ys, after), res = op.fwd(params, x_t[None, None], state, **static)
        return after, (ys[0, 0], res)

    def backward(d_state: Any, res: Any) -> tuple[Any, Array]:
        nothing = jnp.zeros((1, 1, dh.size), dh.dtype)  # nothing is asked of this step's output
        _, _, d_before = op.bwd(params, res, (nothing, d_state), **static)  # (1)
        return d_before, jnp.linalg.norm(of_states(d_before))

    _, (hs, res) = jax.lax.scan(forward, first, x)
    last = first._replace(h=dh[None]) if hasattr(first, "h") else dh[None]
    _, found = jax.lax.scan(backward, last, res, reverse=True)
    return jnp.append(found, jnp.linalg.norm(dh)), hs


def mean_field(hs: Float[Array, "T H"], gain: float, activation: str) -> Float[Array, ""]:
    """(3), with f' from h as the op has it."""
    slope = 1 - hs**2 if activation == "tanh" else (hs > 0).astype(hs.dtype)
    return gain * jnp.sqrt(jnp.mean(slope**2))
