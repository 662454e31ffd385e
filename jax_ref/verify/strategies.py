"""Hypothesis strategies for arguments of given shapes and dtypes; needs Hypothesis.

Values are drawn from the ladder of `inputs`: ordinary, small, large, rounded, zero rows, saturated. They
shrink to ordinary ones. A strategy prints as the call that makes it, and what is drawn as the call of
`numbers`, `ids` or `redrawn` that does, so that both can be pasted.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike, PyTree

from jax_ref.verify.points import inputs
from jax_ref.verify.report.reproduce import Text, literal
from jax_ref.verify.trees import dtype_of, is_floating

try:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "jax_ref.verify.strategies needs Hypothesis: pip install 'manual-bp[strategies]'", name=error.name
    ) from None

Shape = tuple[int, ...]

RUNGS, SEEDS = st.sampled_from(list(inputs.LADDER)), st.integers(0, 2**32 - 1)


def floats(shape: Shape, dtype: DTypeLike = np.float32) -> st.SearchStrategy[np.ndarray]:
    """Arrays of `shape` and of the floating `dtype`."""
    return _floats(shape, jnp.dtype(dtype).name)


def integers(
    shape: Shape, minimum: int, maximum: int, dtype: DTypeLike = np.int32
) -> st.SearchStrategy[np.ndarray]:
    """Arrays of labels or ids from `minimum` to `maximum`, both included."""
    return _integers(shape, minimum, maximum, jnp.dtype(dtype).name)


def like(args: PyTree) -> st.SearchStrategy[PyTree]:
    """`args` with their floating leaves drawn anew; the others as they are."""
    return _like(_Outlined(args))


def numbers(rung: str, seed: int, shape: Shape, dtype: str) -> np.ndarray:
    """An array of values of a rung of the ladder of `inputs`."""
    return inputs.LADDER[rung](np.random.default_rng(seed), shape).astype(jnp.dtype(dtype))


def ids(seed: int, shape: Shape, minimum: int, maximum: int, dtype: str) -> np.ndarray:
    """An array of labels or ids."""
    return np.random.default_rng(seed).integers(minimum, maximum + 1, shape).astype(jnp.dtype(dtype))


def redrawn(args: PyTree, rung: str, seed: int) -> PyTree:
    """`args` with their floating leaves drawn anew, one after the other; the others as they are."""
    rng = np.random.default_rng(seed)

    def leaf(x: Any) -> Any:
        return inputs.LADDER[rung](rng, np.shape(x)).astype(x.dtype) if is_floating(x) else x

    return jax.tree.map(leaf, getattr(args, "args", args))


class _Outlined:
    """Arguments that print as their source, with zeros for what is drawn anew."""

    def __init__(self, args: PyTree):
        self.args = args

    def __repr__(self) -> str:
        """A tree of calls."""

        def leaf(x: Any) -> Text:
            drawn_anew = Text(f"jnp.zeros({np.shape(x)!r}, {str(dtype_of(x))!r})")
            return drawn_anew if is_floating(x) else literal(x if hasattr(x, "dtype") else np.asarray(x))

        return repr(jax.tree.map(leaf, self.args))


def _called(name: str, drawn: Callable[..., Any]) -> Callable[..., st.SearchStrategy[Any]]:
    """Strategies that print as a call of that name."""
    drawn.__name__ = name
    return st.composite(drawn)


_floats = _called(
    "floats",
    lambda draw, shape, dtype: draw(st.builds(numbers, RUNGS, SEEDS, st.just(shape), st.just(dtype))),
)
_integers = _called(
    "integers",
    lambda draw, shape, minimum, maximum, dtype: draw(
        st.builds(ids, SEEDS, st.just(shape), st.just(minimum), st.just(maximum), st.just(dtype))
    ),
)
_like = _called("like", lambda draw, args: draw(st.builds(redrawn, st.just(args), RUNGS, SEEDS)))


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
