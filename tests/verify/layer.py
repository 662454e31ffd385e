"""A dense layer with tanh: what the tests of the verifier put mistakes into."""

import jax.numpy as jnp
import numpy as np
import pytest

RNG = np.random.default_rng(0)
X, W, B = RNG.normal(size=(4, 3)), RNG.normal(size=(3, 5)), RNG.normal(size=5)

NO_SHRINKING = {"shrinking": "its example is not looked at here"}
VALUES_ALONE = NO_SHRINKING | dict.fromkeys(("transforms", "reference", "batches"), "to be quick")


def fwd(x, w, b):
    y = jnp.tanh(x @ w + b[None])
    return y, (x, w, y)


def bwd(res, dy):
    x, w, y = res
    dz = dy * (1 - y * y)
    return dz @ w.T, x.T @ dz, dz.sum(0)


def reference(x, w, b):
    return jnp.tanh(jnp.dot(x, w) + b[None])


def wrong(change):
    """`bwd` with its cotangents changed by `change(dx, dw, db, res, dy)`."""
    return lambda res, dy: change(*bwd(res, dy), res, dy)


def and_slow(first, *others):
    """Parameters of a test, of which the first is tried by default."""
    return [first, *(pytest.param(other, marks=pytest.mark.slow) for other in others)]
