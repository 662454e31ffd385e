"""Hypothesis strategies for arguments of given shapes and dtypes; needs Hypothesis.

Values are drawn from the ladder of `inputs`: ordinary, small, large, rounded, zero rows, saturated. They
shrink to ordinary ones.
"""

from typing import Any

import jax
import numpy as np
from jaxtyping import DTypeLike, PyTree

from jax_ref.verify.points import inputs
from jax_ref.verify.trees import is_floating

try:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "jax_ref.verify.strategies needs Hypothesis: pip install 'manual-bp[strategies]'", name=error.name
    ) from None

Shape = tuple[int, ...]


def floats(shape: Shape, dtype: DTypeLike = np.float32) -> st.SearchStrategy[np.ndarray]:
    """Arrays of `shape` and of the floating `dtype`."""
    rungs, seeds = st.sampled_from(list(inputs.LADDER)), st.integers(0, 2**32 - 1)
    return st.builds(
        lambda rung, seed: inputs.LADDER[rung](np.random.default_rng(seed), shape).astype(dtype), rungs, seeds
    )


def integers(
    shape: Shape, minimum: int, maximum: int, dtype: DTypeLike = np.int32
) -> st.SearchStrategy[np.ndarray]:
    """Arrays of labels or ids from `minimum` to `maximum`, both included."""
    return st.integers(0, 2**32 - 1).map(
        lambda seed: np.random.default_rng(seed).integers(minimum, maximum + 1, shape).astype(dtype)
    )


def like(args: PyTree) -> st.SearchStrategy[PyTree]:
    """`args` with their floating leaves drawn anew; the others as they are."""

    def redrawn(rung: str, seed: int) -> PyTree:
        rng = np.random.default_rng(seed)

        def leaf(x: Any) -> Any:
            return inputs.LADDER[rung](rng, np.shape(x)).astype(x.dtype) if is_floating(x) else x

        return jax.tree.map(leaf, args)

    return st.builds(redrawn, st.sampled_from(list(inputs.LADDER)), st.integers(0, 2**32 - 1))


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """`count` examples of a strategy, the same each time."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]
    )
    @given(strategy)
    def collect(example: Any) -> None:
        found.append(example)

    collect()
    return found[:count]
