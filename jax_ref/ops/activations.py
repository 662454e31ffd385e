"""Elementwise activations as `jax.nn` has them, or by their definitions."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Z = Float[Array, "*B"]


def identity(z: Z) -> Z:
    """`z` itself."""
    return z


def sigmoid(z: Z) -> Z:
    """`1 / (1 + exp(-z))`."""
    return jax.nn.sigmoid(z)


def tanh(z: Z) -> Z:
    """The hyperbolic tangent."""
    return jnp.tanh(z)


def relu(z: Z) -> Z:
    """`max(z, 0)`."""
    return jax.nn.relu(z)


def leaky_relu(z: Z, *, slope: float = 0.01) -> Z:
    """`z` where it is at least 0, `slope * z` elsewhere."""
    return jax.nn.leaky_relu(z, negative_slope=slope)


def elu(z: Z, *, alpha: float = 1.0) -> Z:
    """`z` where it is positive, `alpha * (exp(z) - 1)` elsewhere."""
    return jax.nn.elu(z, alpha=alpha)


def softplus(z: Z) -> Z:
    """`log(1 + exp(z))`."""
    return jax.nn.softplus(z)


def silu(z: Z) -> Z:
    """`z * sigmoid(z)`."""
    return jax.nn.silu(z)


def gelu(z: Z) -> Z:
    """`z` times the normal distribution function of `z`."""
    return jax.nn.gelu(z, approximate=False)


def gelu_tanh(z: Z) -> Z:
    """The approximation of `gelu` by a hyperbolic tangent."""
    return jax.nn.gelu(z, approximate=True)


def relu_squared(z: Z) -> Z:
    """`max(z, 0)` squared."""
    return jnp.square(jax.nn.relu(z))


def hard_tanh(z: Z) -> Z:
    """`z` limited to -1..1."""
    return jax.nn.hard_tanh(z)
