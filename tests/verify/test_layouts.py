"""Entries in other places, parts of the output's cotangent, and steps along another axis are named."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jax_ref import verify

RNG = np.random.default_rng(5)
X = RNG.normal(size=(4, 6))
IMAGES, KERNEL = RNG.normal(size=(2, 5, 5, 1)), RNG.normal(size=(3, 3, 1, 2))


def square(x):
    return x * x


def pooled(x):
    return x.reshape(4, 3, 2).mean(2)


def of_windows(dx):
    """With rows and columns of each window of 2 x 2 exchanged."""
    return dx.reshape(2, 2, 3, 2).transpose(0, 3, 2, 1).reshape(4, 6)


def strided(x):
    return lax.conv_general_dilated(
        x, jnp.asarray(KERNEL), (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def unstrided(x, dy):
    dx = jnp.zeros_like(x)
    for i, j in np.ndindex(3, 3):
        dx = dx.at[:, i : i + 2, j : j + 2].add(dy @ KERNEL[i, j].T)
    return dx


def largest(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2), (1, 2), "VALID")


NAMED = {
    "tiled": (
        pooled, X, lambda x, dy: jnp.tile(dy / 2, (1, 2)), "transposed",
        "axis 1 is 3 x 2 entries (pq), read as qp",
    ),
    "windows": (
        square, X, lambda x, dy: of_windows(2 * x * dy), "transposed",
        "axis 0 is 2 x 2 entries (pq) and axis 1 is 3 x 2 entries (rs), read as ps and rq",
    ),
    "corners": (
        square, X, lambda x, dy: (2 * x * dy).at[1::2].set(0).at[:, 1::2].set(0), "conditional",
        "zero but at each entry whose index is a multiple of 2 of axis 0, 2 of axis 1",
    ),
    "cut": (
        square, X, lambda x, dy: jnp.pad(2 * x * dy, ((1, 0), (1, 0)), "edge")[:-1, :-1], "shifted",
        "shifted by 1 along axes (0, 1), with other values at the edge",
    ),
    "the first": (
        lambda x: jnp.broadcast_to(x, (3, 5, 4, 6)), X[0], lambda x, dy: dy[:, 0, 0].sum(0),
        "cotangent ignored",
        "of the cotangent of the output only the first entry along axes (1, 2) is used",
    ),
    "every second": (
        lambda x: jnp.repeat(x, 2, 1), X, lambda x, dy: dy[:, ::2], "cotangent ignored",
        "only each entry whose index is a multiple of 2 along axis 1 is used",
    ),
    "another axis": (
        lambda x: jnp.cumsum(x, 1), X, lambda x, dy: jnp.cumsum(dy[::-1], 0)[::-1], "derivative",
        "the derivative of the cumsum in `jnp.cumsum(x, 1)`",
    ),
    "a mean of windows": (
        largest, X, lambda x, dy: jnp.repeat(dy / 2, 2, 1), "derivative", "is that of a mean",
    ),
    "a mean of rows": (
        lambda x: x.max(1), X, lambda x, dy: jnp.broadcast_to(dy[:, None] / 6, x.shape), "derivative",
        "is that of a mean",
    ),
    "no stride": (strided, IMAGES, unstrided, "derivative", "is that for a stride of one"),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_named(name):
    f, x, bwd, kind, text = NAMED[name]
    report = verify.check(
        lambda x: (f(x), x), lambda x, dy: (bwd(x, dy),), x, reference=f, level="quick",
        skip={"shrinking": "its example is not looked at here"},
    )  # fmt: skip
    (finding,) = report.findings
    assert finding.kind == kind, str(report)
    assert text in finding.text


def test_without_a_diagnosis_it_is_wrong_all_the_same():
    skip = dict.fromkeys(("diagnosis", "shrinking"), "the verdict is enough")
    report = verify.check(lambda x: (x * x, x), lambda x, dy: (x * dy,), X, reference=square, skip=skip)
    assert [f.kind for f in report.findings] == ["gradient"]
    assert report.findings[0].text == "off by 5.0e-01 of its norm"
    assert "left out: diagnosis (the verdict is enough)" in report.notes
