"""Ways to make a mistake of a right pair, and what the pairs share: dtypes of sums, and arguments."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from .form import Original, Planted

FEW_DIGITS = ("bfloat16", "float16")
"""The dtypes of 16 bits."""

SINGLE = ("float32", *FEW_DIGITS)
"""The dtypes of no more digits than float32."""


def wide(x: Any) -> Any:
    """`x` in float32 or wider, in which sums are taken."""
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x


def narrow(dtype: Any, *cotangents: Any) -> tuple[Any, ...]:
    """The cotangents in `dtype`."""
    return tuple(c.astype(dtype) for c in cotangents)


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Normal values."""
    return rng.normal(size=shape)


def shapes(small: tuple[tuple[int, ...], ...], realistic: tuple[tuple[int, ...], ...]) -> Any:
    """Normal arguments of these shapes; weights over the root of their number of rows, as usual."""

    def args(rng, is_realistic):
        first, *others = realistic if is_realistic else small
        return rng.normal(size=first), *(rng.normal(size=s) / s[0] ** 0.5 for s in others)

    return args


def edited(bwd: Callable[..., Any], edit: Callable[..., Any]) -> Callable[..., Any]:
    """`bwd`, whose result is `edit(residuals, d_output, *cotangents)`."""
    return lambda residuals, d_output: edit(residuals, d_output, *bwd(residuals, d_output))


def instead(
    originals: dict[str, Original],
    original: str,
    bwd: Callable[..., Any],
    *kinds: str,
    none_in: tuple[str, ...] = (),
) -> Planted:
    """An original's forward with another backward."""
    return Planted(original, originals[original].fwd, bwd, kinds, none_in)


def from_right(
    originals: dict[str, Original],
    which: int,
    original: str,
    change: Callable[..., Any],
    *kinds: str,
    none_in: tuple[str, ...] = (),
) -> Planted:
    """An original with entry `which` of its cotangents replaced by `change(residuals, d_output, entry)`."""
    right = originals[original].bwd

    def bwd(residuals: Any, d_output: Any) -> Any:
        entries = list(right(residuals, d_output))
        entries[which] = change(residuals, d_output, entries[which])
        return tuple(entries)

    return instead(originals, original, bwd, *kinds, none_in=none_in)


def at_right(
    originals: dict[str, Original],
    which: int,
    original: str,
    change: Callable[..., Any],
    *kinds: str,
    none_in: tuple[str, ...] = (),
) -> Planted:
    """An original with entry `which` of its cotangents replaced by `change(entry)`."""
    return from_right(originals, which, original, lambda res, d, c: change(c), *kinds, none_in=none_in)


def by_another_cotangent(
    originals: dict[str, Original], original: str, change: Callable[..., Any], *kinds: str
) -> Planted:
    """An original whose backward is given `change(d_output)`."""
    right = originals[original].bwd
    return instead(originals, original, lambda res, d: right(res, change(d)), *kinds)
