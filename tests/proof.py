"""One gradient held against the oracle: every test of a gradient comes down to `prove`."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_ref.verify import inputs, oracle, tolerance
from manual_bp.bridge import Op
from tests.cases import Example

DTYPES = (jnp.float64, jnp.float32, jnp.bfloat16)


class Engines(NamedTuple):
    """Both sides as jitted functions `(args, d_output) -> (output, cotangents)`."""

    manual: Callable[..., Any]
    autodiff: Callable[..., Any]


def engines(op: Op, reference: Callable[..., Any], static: dict[str, Any]) -> Engines:
    """The pair and the reference, compiled once per shape and dtype."""
    return _engines(op.fwd, op.bwd, reference, tuple(sorted(static.items())))


@functools.cache
def _engines(
    fwd: Callable[..., Any], bwd: Callable[..., Any], reference: Callable[..., Any], static: Any
) -> Engines:
    return Engines(
        jax.jit(functools.partial(run_pair, fwd, bwd, **dict(static))),
        jax.jit(functools.partial(oracle.value_and_vjp, reference, **dict(static))),
    )


def run_pair(
    fwd: Callable[..., Any], bwd: Callable[..., Any], args: Any, d_output: Any, **static: Any
) -> tuple[Any, tuple[Any, ...]]:
    """The output of a pair and the tuple of its cotangents."""
    output, residuals = fwd(*args, **static)
    return output, as_tuple(args, backward(bwd, args, residuals, d_output, **static))


def backward(bwd: Callable[..., Any], args: Any, residuals: Any, d_output: Any, **static: Any):
    """`bwd` called with the params where the first argument is params."""
    params = args[:1] if hasattr(args[0], "_fields") else ()
    return bwd(*params, residuals, d_output, **static)


def as_tuple(args: Any, cotangents: Any) -> tuple[Any, ...]:
    """The cotangents as a tuple, also where a single one is bare."""
    single = sum(map(oracle.is_differentiable, args)) == 1
    return (cotangents,) if single else cotangents


def prove(
    op: Op,
    reference: Callable[..., Any],
    example: Example,
    *,
    rung: str = "ordinary",
    scale: float = 1.0,
    seed: int = 0,
) -> None:
    """Assert that output and cotangents are as near the oracle as they must be, in every dtype."""
    rng = np.random.default_rng(seed)
    args = inputs.redraw(example.args, rung, rng)
    manual, autodiff = engines(op, reference, example.static)
    for dtype in DTYPES:
        narrow = oracle.cast(args, dtype)
        output = jax.eval_shape(functools.partial(reference, **example.static), *narrow)
        d_output = jnp.asarray(scale * rng.normal(size=output.shape), dtype)
        actual = manual(narrow, d_output)
        plain = autodiff(narrow, d_output)
        exact = autodiff(oracle.cast(narrow, jnp.float64), d_output.astype(jnp.float64))
        assert_same_structure(actual, plain)
        labelled = jax.tree_util.tree_leaves_with_path(actual)
        rows = zip(labelled, jax.tree.leaves(plain), jax.tree.leaves(exact), strict=True)
        for (path, a), p, e in rows:
            where = f"{jax.tree_util.keystr(path)} in {jnp.dtype(dtype)} on rung {rung!r}"
            finite = np.isfinite(np.asarray(e))
            assert np.all(np.isfinite(np.asarray(a, np.float64)[finite])), f"{where}: not finite"
            off, allowed = tolerance.distance(a, e), tolerance.bound(e, p)
            # where autodiff itself overflows there is nothing to compare with but finiteness
            assert off <= allowed or np.isnan(allowed), (
                f"{where}: {off:.3g} from the oracle, whose norm is {tolerance.size(e):.3g}; "
                f"allowed {allowed:.3g}"
            )


def assert_same_structure(actual: Any, expected: Any) -> None:
    """Assert the same tree, shapes and dtypes."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for (path, a), e in zip(
        jax.tree_util.tree_leaves_with_path(actual), jax.tree.leaves(expected), strict=True
    ):
        where = jax.tree_util.keystr(path)
        assert a.shape == e.shape, f"{where}: shape {a.shape}, expected {e.shape}"
        assert a.dtype == e.dtype, f"{where}: dtype {a.dtype}, expected {e.dtype}"
