"""What the collection of planted mistakes is made of."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Original(NamedTuple):
    """A right pair in `jax.custom_vjp`'s convention, its reference, and arguments of two sizes."""

    fwd: Callable[..., Any]
    """`fwd(*args) -> (output, residuals)`."""
    bwd: Callable[..., Any]
    """`bwd(residuals, d_output)` -> tuple, one entry per argument, None where it is not differentiable."""
    reference: Callable[..., Any]
    """Plain stock JAX, independent of `fwd`, from the definition."""
    args: Callable[[np.random.Generator, bool], tuple[Any, ...]]
    """`(rng, realistic)` -> NumPy args, floating leaves in float64; small unless realistic."""


class Planted(NamedTuple):
    """One mistake: the original it is in, the wrong pair, and the kinds of `verify.KINDS` that name it.

    "gradient" names none. There are no kinds where the vocabulary has no other word for the mistake.
    """

    original: str
    fwd: Callable[..., Any]
    bwd: Callable[..., Any]
    kinds: tuple[str, ...]
    none_in: tuple[str, ...] = ()
    """Dtypes in which it is no mistake, as rounding in them is as much."""
