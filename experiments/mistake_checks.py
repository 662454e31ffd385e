r"""The checks that people hold a hand-written gradient against, and ours: each sees it as its author does.

The author has a function f of the layers l, the mean cost on a batch, whose backward he wrote himself:

    f(l) = C(l; X, Y),      vjp of f at l:   d -> d G(l; X, Y)                          (1)

C is right, so that only G is on trial. Every check is called with the defaults of whoever wrote it:

- `jax.test_util.check_grads` compares d <G, t> with d (f(l + h t) - f(l - h t)) / 2h for one direction t,
  h = 1e-4. t and d are normal, but the same each time: it seeds its generator with 0. It allows 2e-3 in
  float32 and 1e-5 in float64, absolute and relative.
- `chex.assert_numerical_grads` is the same check with an absolute error of 0.01 times the size of the first
  argument allowed: 12.8 where that is a matrix of 20 x 64. It takes no pytree, so f gets the matrices and
  biases one by one, and it tries forward mode, which no custom_vjp has, so it is told modes=("rev",).
- allclose compares G in float32 with `jax.grad` of the reference in float32, leaf by leaf, allowing each
  entry g of the latter rtol |g| + atol; d = 1, as when an output is summed, for f is one number already. The
  defaults of NumPy and JAX are rtol = 1e-5 and atol = 1e-8; loose, 1e-2 and 1e-3, is what people choose when
  these are in the way.
- ours compares d G, d normal and drawn anew, with `jax.vjp` of the reference in float64 on the same numbers,
  leaf by leaf, allowing what `jax_ref.verify.tolerance` does.

allclose and ours need a reference; the other two need f alone.

All are asked at the same places:

    start     a batch, at the initialisation that is trained
    trained   the same batch, after training with the right gradient
    zeros     the start, but biases and output weights 0, as many begin, and targets one-hot: at such a
              place some of the wrong gradients are right
    drawn     layers, inputs and targets all from the ordinary rung of `jax_ref.verify.inputs`
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads
from jaxtyping import Array, DTypeLike

import jax_ref.textbook
from jax_ref.verify import inputs, oracle, tolerance
from manual_bp.textbook.columns import Layer, Network
from manual_bp.textbook.errata.steps import Gradient

NEIGHBOURS = 3
"""Points beside the given one at which the error of autodiff in float32 is taken, too."""

Args = tuple[Network, Array, Array]
"""Layers, inputs X (I, B) and targets Y (O, B)."""


class Reference(NamedTuple):
    """The mean cost and its gradient by autodiff, functions of `Args`."""

    cost: Callable[..., Array]
    gradient: Callable[..., Network]


class Place(NamedTuple):
    """Where a gradient is checked, in one dtype, and what is known there.

    `autodiff` is the gradient for the cotangent 1 in this dtype; `oracle` and `bounds` are, for each leaf,
    the float64 result for the cotangent `d_output` and how far from it a result may be.
    """

    args: Args
    d_output: np.ndarray
    autodiff: list[Array]
    oracle: list[np.ndarray]
    bounds: list[float]


@functools.cache
def reference(output: str, cost: str) -> Reference:
    """The reference of a head, compiled once for each shape and dtype."""
    mean_cost = functools.partial(jax_ref.textbook.mean_cost, output=output, cost=cost)
    return Reference(jax.jit(mean_cost), jax.jit(jax.grad(mean_cost)))


def place(known: Reference, args: Args, dtype: DTypeLike, rng: np.random.Generator) -> Place:
    """The float64 `args` in `dtype`, with a cotangent drawn and the oracle asked."""
    args, d_output = oracle.cast(jax.tree.map(np.asarray, (args, rng.normal(size=()))), dtype)
    expected = _oracle(known, args, d_output)
    largest = max(float(np.max(np.abs(leaf))) for leaf in jax.tree.leaves(args))
    if np.dtype(dtype) == np.float64:
        bounds = [tolerance.bound64(leaf, d_output, largest) for leaf in expected]
    else:
        points = [args, *(inputs.nearby(args, rng) for _ in range(NEIGHBOURS))]
        errors = np.max([_autodiff_errors(known, point, d_output) for point in points], axis=0)
        bounds = [
            tolerance.bound(leaf, float(error), dtype, d_output, largest)
            for leaf, error in zip(expected, errors, strict=True)
        ]
    return Place(args, d_output, jax.tree.leaves(known.gradient(*args)), expected, bounds)


def _autodiff_errors(known: Reference, args: Args, d_output: np.ndarray) -> list[float]:
    plain = [d_output * np.asarray(leaf) for leaf in jax.tree.leaves(known.gradient(*args))]
    return [tolerance.distance(p, e) for p, e in zip(plain, _oracle(known, args, d_output), strict=True)]


def _oracle(known: Reference, args: Args, d_output: np.ndarray) -> list[np.ndarray]:
    gradient = known.gradient(*oracle.cast(args, np.float64))
    return [np.float64(d_output) * np.asarray(leaf) for leaf in jax.tree.leaves(gradient)]


def author(known: Reference, gradient: Gradient, where: Place) -> Callable[[Network], Array]:
    """(1): f on the batch of a place, whose backward knows G at the layers of the place, and only there."""
    layers, X, Y = where.args
    found = gradient(*jax.tree.map(jnp.asarray, (layers, X, Y)))

    @jax.custom_vjp
    def f(layers: Network) -> Array:
        return known.cost(layers, X, Y)

    def backward(_: None, d_output: Array) -> tuple[Network]:
        return (jax.tree.map(lambda leaf: d_output * leaf, found),)

    f.defvjp(lambda layers: (known.cost(layers, X, Y), None), backward)
    return f


Check = Callable[[Callable[[Network], Array], Place], bool]
"""From f and a place in the check's dtype to whether the check complains."""


def by_check_grads(f: Callable[[Network], Array], where: Place) -> bool:
    """`jax.test_util.check_grads`."""
    return _complains(lambda: check_grads(f, where.args[:1], order=1, modes=("rev",)))


def by_chex(f: Callable[[Network], Array], where: Place) -> bool:
    """`chex.assert_numerical_grads`."""
    leaves, tree = jax.tree.flatten(where.args[0])

    def of_leaves(*leaves: Array) -> Array:
        return f(jax.tree.unflatten(tree, leaves))

    return _complains(lambda: chex.assert_numerical_grads(of_leaves, leaves, order=1, modes=("rev",)))


def _complains(check: Callable[[], None]) -> bool:
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # a wrong gradient may be infinite
            check()
    except AssertionError:
        return True
    return False


def by_allclose(f: Callable[[Network], Array], where: Place, rtol: float = 1e-5, atol: float = 1e-8) -> bool:
    """`jnp.allclose` of each leaf and autodiff's."""
    gradient = jax.tree.leaves(jax.grad(f)(where.args[0]))
    pairs = zip(gradient, where.autodiff, strict=True)
    return not all(bool(jnp.allclose(g, expected, rtol=rtol, atol=atol)) for g, expected in pairs)


def first_wrong_leaf(f: Callable[[Network], Array], where: Place) -> str | None:
    """The name of the first gradient that ours finds wrong on the way back: W3, b3, W2, ...

    NaN is wrong where the oracle has a number.
    """
    (gradient,) = jax.vjp(f, where.args[0])[1](jnp.asarray(where.d_output))
    found = [
        tolerance.distance(leaf, expected) <= bound
        for leaf, expected, bound in zip(jax.tree.leaves(gradient), where.oracle, where.bounds, strict=True)
    ]
    for layer in reversed(range(len(gradient))):
        for part, name in enumerate(Layer._fields):
            if not found[2 * layer + part]:
                return f"{name}{layer + 1}"
    return None


def by_ours(f: Callable[[Network], Array], where: Place) -> bool:
    """Whether any leaf is wrong."""
    return first_wrong_leaf(f, where) is not None


CHECKS: dict[str, tuple[str, Check]] = {
    "check_grads float32": ("float32", by_check_grads),
    "check_grads float64": ("float64", by_check_grads),
    "chex": ("float32", by_chex),
    "allclose": ("float32", by_allclose),
    "allclose loose": ("float32", functools.partial(by_allclose, rtol=1e-2, atol=1e-3)),
    "ours float32": ("float32", by_ours),
    "ours float64": ("float64", by_ours),
}
"""The dtype of each check, and the check."""

PLACES: tuple[str, ...] = ("start", "trained", "zeros", "drawn")

Places = dict[str, dict[str, Place]]
"""Of one network, by name and dtype."""


def places(
    known: Reference, start: Args, trained: Network, one_hot: Array, rng: np.random.Generator
) -> Places:
    """Those of a batch `start`, whose classes are `one_hot`."""
    layers, X, Y = start
    *hidden, last = (layer._replace(b=jnp.zeros_like(layer.b)) for layer in layers)
    zeros = (*hidden, last._replace(W=jnp.zeros_like(last.W)))
    drawn = inputs.redraw(jax.tree.map(np.asarray, start), "ordinary", rng)
    given = (start, (trained, X, Y), (zeros, X, one_hot), drawn)
    return {
        name: {dtype: place(known, args, dtype, rng) for dtype in ("float32", "float64")}
        for name, args in zip(PLACES, given, strict=True)
    }


def complaints(known: Reference, gradient: Gradient, networks: Sequence[Places]) -> dict[str, dict[str, int]]:
    """At how many networks each check complains of a gradient, by check and name of the place."""
    counts = {check: dict.fromkeys(PLACES, 0) for check in CHECKS}
    for name in PLACES:
        for by_dtype in (network[name] for network in networks):
            functions = {dtype: author(known, gradient, where) for dtype, where in by_dtype.items()}
            for check, (dtype, complains) in CHECKS.items():
                counts[check][name] += complains(functions[dtype], by_dtype[dtype])
    return counts


def complaints_on_ladder(known: Reference, gradient: Gradient, examples: Sequence[Args]) -> dict[str, int]:
    """At how many examples, drawn anew on a rung, ours complains in float64, by rung."""
    rng = np.random.default_rng(0)
    counts = dict.fromkeys(inputs.LADDER, 0)
    for rung in inputs.LADDER:
        for example in examples:
            where = place(known, inputs.redraw(example, rung, rng), np.float64, rng)
            counts[rung] += by_ours(author(known, gradient, where), where)
    return counts
