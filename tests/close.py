"""Normwise agreement of two trees, each leaf by its own norm."""

from typing import Any

import jax
import numpy as np


def close(actual: Any, expected: Any, tolerance: float = 1e-13) -> None:
    """Assert that two trees of float64 arrays agree; what is not finite counts as a fixed number."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert (a.shape, a.dtype) == (e.shape, e.dtype)
        a, e = np.nan_to_num(a, neginf=-1.0), np.nan_to_num(e, neginf=-1.0)
        assert np.linalg.norm(a - e) <= tolerance * np.linalg.norm(e)
