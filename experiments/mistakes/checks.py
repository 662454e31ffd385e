r"""The checks that people hold a hand-written gradient against.

Each is called with the defaults of whoever wrote it:

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

allclose needs a reference, the right cost, as ours does; the other two need f alone.
"""

import functools
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads
from jaxtyping import Array

from experiments.mistakes.author import Author, Cost
from experiments.mistakes.places import Place
from jax_ref.verify import oracle
from manual_bp.textbook.columns import Network

Check = Callable[[Cost, Author, Place], bool]
"""From the right cost, an author and a place in the check's dtype to whether the check complains."""


def by_check_grads(right: Cost, author: Author, place: Place) -> bool:
    """`jax.test_util.check_grads`."""

    def f(layers: Network) -> Array:
        return author.f(layers, place.numbers)

    return _complains(lambda: check_grads(f, (place.layers,), order=1, modes=("rev",)))


def by_chex(right: Cost, author: Author, place: Place) -> bool:
    """`chex.assert_numerical_grads`."""
    leaves, tree = jax.tree.flatten(place.layers)

    def of_leaves(*leaves: Array) -> Array:
        return author.f(jax.tree.unflatten(tree, leaves), place.numbers)

    return _complains(lambda: chex.assert_numerical_grads(of_leaves, leaves, order=1, modes=("rev",)))


def _complains(check: Callable[[], None]) -> bool:
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # a wrong gradient may be infinite
            check()
    except AssertionError:
        return True
    return False


def by_allclose(right: Cost, author: Author, place: Place, rtol: float = 1e-5, atol: float = 1e-8) -> bool:
    """`jnp.allclose` of each leaf and autodiff's."""
    gradients = jax.grad(author.f)(*place), right.gradient(*place)
    pairs = zip(*map(jax.tree.leaves, gradients), strict=True)
    return not all(bool(jnp.allclose(found, wanted, rtol=rtol, atol=atol)) for found, wanted in pairs)


CHECKS: dict[str, tuple[str, Check]] = {
    "check_grads float32": ("float32", by_check_grads),
    "check_grads float64": ("float64", by_check_grads),
    "chex": ("float32", by_chex),
    "allclose": ("float32", by_allclose),
    "allclose loose": ("float32", functools.partial(by_allclose, rtol=1e-2, atol=1e-3)),
}
"""The dtype of each check, and the check."""


def complaints(right: Cost, author: Author, places: dict[str, list[Place]]) -> dict[str, dict[str, int]]:
    """How often each check complains, by check and name of the place."""
    return {
        check: {
            name: sum(complains(right, author, oracle.cast(place, dtype)) for place in several)
            for name, several in places.items()
        }
        for check, (dtype, complains) in CHECKS.items()
    }
