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


def output_shape(reference: Callable[..., Any], example: Example) -> tuple[int, ...]:
    """The shape of the output."""
    args = oracle.cast(example.args, jnp.float64)
    leaves, tree = jax.tree.flatten(jax.tree.map(lambda x: (x.shape, x.dtype), args), _is_shape)
    return _output_shape(reference, tree, tuple(leaves), tuple(sorted(example.static.items())))


@functools.cache
def _output_shape(reference: Any, tree: Any, leaves: Any, static: Any) -> tuple[int, ...]:
    args = jax.tree.unflatten(tree, [jax.ShapeDtypeStruct(*leaf) for leaf in leaves])
    return jax.eval_shape(functools.partial(reference, **dict(static)), *args).shape


def _is_shape(x: Any) -> bool:
    return type(x) is tuple and len(x) == 2 and isinstance(x[0], tuple) and isinstance(x[1], np.dtype)


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
    dtypes: tuple[Any, ...] = DTYPES,
) -> None:
    """Assert that output and cotangents are as near the oracle as they must be, in each dtype."""
    rng = np.random.default_rng(seed)
    manual, autodiff = engines(op, reference, example.static)
    args64 = inputs.redraw(example.args, rung, rng)
    d_output64 = scale * rng.normal(size=output_shape(reference, example))
    for dtype in dtypes:
        args, d_output = oracle.cast((args64, d_output64), dtype)
        actual = manual(args, d_output)
        exact = autodiff(*oracle.cast((args, d_output), jnp.float64))
        assert_same_structure(actual, autodiff(args, d_output))
        for path, a, e, allowed in _rows(autodiff, args, d_output, actual, exact, rng):
            where = f"{path} in {jnp.dtype(dtype)} on rung {rung!r}"
            a, e = np.asarray(a, np.float64), np.asarray(e)
            assert np.all(np.isfinite(a[np.isfinite(e)])), f"{where}: not finite"
            off = tolerance.distance(a, e)
            # where autodiff itself is not finite there is nothing to compare with but finiteness
            assert off <= allowed or np.isnan(allowed), (
                f"{where}: {off:.3g} from the oracle, whose norm is {tolerance.size(e):.3g}; "
                f"allowed {allowed:.3g}"
            )


def _rows(autodiff: Any, args: Any, d_output: Any, actual: Any, exact: Any, rng: Any) -> Any:
    """Path, actual, exact and bound of every leaf.

    Autodiff's error in a narrow dtype is the worst at the point and at three neighbours: at one point
    it can be nothing by luck.
    """
    labelled = jax.tree_util.tree_leaves_with_path(actual)
    leaves = jax.tree.leaves(exact)
    dtype = d_output.dtype
    largest = max(
        float(np.max(np.abs(x.astype(np.float64)))) for x in jax.tree.leaves(args) if x.dtype == dtype
    )
    if dtype == np.float64:
        bounds = [tolerance.bound64(e, d_output, largest) for e in leaves]
    else:
        errors = []
        for point in [args, *(inputs.nearby(args, rng) for _ in range(3))]:
            plain = jax.tree.leaves(autodiff(point, d_output))
            wide = jax.tree.leaves(autodiff(*oracle.cast((point, d_output), jnp.float64)))
            errors.append([tolerance.distance(p, w) for p, w in zip(plain, wide, strict=True)])
        worst = np.max(errors, axis=0)
        pairs = zip(leaves, worst, strict=True)
        bounds = [tolerance.bound(e, float(w), dtype, d_output, largest) for e, w in pairs]
    for (path, a), e, allowed in zip(labelled, leaves, bounds, strict=True):
        yield jax.tree_util.keystr(path), a, e, allowed


def assert_same_structure(actual: Any, expected: Any) -> None:
    """Assert the same tree, shapes and dtypes."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for (path, a), e in zip(
        jax.tree_util.tree_leaves_with_path(actual), jax.tree.leaves(expected), strict=True
    ):
        where = jax.tree_util.keystr(path)
        assert a.shape == e.shape, f"{where}: shape {a.shape}, expected {e.shape}"
        assert a.dtype == e.dtype, f"{where}: dtype {a.dtype}, expected {e.dtype}"
