"""A mistake in one step is named as what it is, in the words of the reference's source."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_ref import verify
from jax_ref.verify.diagnosis import primitive_mistakes

RNG = np.random.default_rng(0)
OFF_DIAGONAL = ~np.eye(4, dtype=bool)
X, W = RNG.normal(size=(4, 4)), RNG.normal(size=(4, 4))


def network(x, w):
    """A layer with a residual path, masked, scaled, and normalised by its mean."""
    h = jnp.tanh(0.3 * (x @ w))
    i, g = jnp.split(h, 2, 1)
    gated = jnp.concatenate([i * jax.nn.sigmoid(g), jnp.exp(i)], 1)
    masked = jnp.where(OFF_DIAGONAL, gated, x)
    return masked - jnp.mean(masked, 0, keepdims=True)


def by_hand(x, w, *, tanh=None, product=None, split=(0, 1), scale=0.3, mask=None, mean=1.0, i_sign=1.0):
    """The cotangents of `network`, each part of which can be another."""
    z = scale * (x @ w)
    h = jnp.tanh(z)
    i, g = jnp.split(h, 2, 1)
    s = jax.nn.sigmoid(g)
    allowed = OFF_DIAGONAL if mask is None else np.full((4, 4), mask)

    def back(dy):
        d_masked = dy - mean * jnp.mean(dy, 0, keepdims=True)
        d_gated = jnp.where(allowed, d_masked, 0)
        d_first, d_second = jnp.split(d_gated, 2, 1)
        parts = i_sign * d_first * s + d_second * jnp.exp(i), d_first * i * s * (1 - s)
        dz = scale * jnp.concatenate([parts[k] for k in split], 1) * (tanh(z, h) if tanh else 1 - h * h)
        dx = product(dz, w) if product else dz @ w.T
        return dx + jnp.where(allowed, 0, d_masked), x.T @ dz

    return back


def report_on(**changes):
    """Of `network` with a changed backward."""
    return verify.check(
        lambda x, w: (network(x, w), (x, w)),
        lambda residuals, dy: by_hand(*residuals, **changes)(dy),
        X, W, reference=network, level="quick",
    )  # fmt: skip


PLANTED = {
    "statistic": (
        {"mean": 0.0},
        "statistic",
        "it takes the sum over axes (0,) of an array (4, 4) for a constant",
    ),
    "constant": (
        {"i_sign": 0.0},
        "derivative",
        "the derivative of the product in `i * jax.nn.sigmoid(g)` (test_primitive_mistakes.py",
    ),
    "one": (
        {"tanh": lambda z, h: 1},
        "derivative",
        "the derivative of the tanh in `jnp.tanh(0.3 * (x @ w))`",
    ),
    "at the output": (
        {"tanh": lambda z, h: 1 - jnp.tanh(h) ** 2},
        "derivative",
        "the slope of the tanh in `jnp.tanh(0.3 * (x @ w))`",
    ),
    "output's formula": (
        {"tanh": lambda z, h: 1 - z * z},
        "derivative",
        "that for its output, taken at its input",
    ),
    "another's slope": ({"tanh": lambda z, h: h * (1 - h)}, "derivative", "is that of the sigmoid"),
    "ones": (
        {"product": lambda dz, w: dz @ jnp.ones_like(w)},
        "derivative",
        "by its input 1 has ones for the other factor",
    ),
    "not transposed": ({"product": lambda dz, w: dz @ w}, "derivative", "the matrix product in `x @ w`"),
    "cotangent transposed": (
        {"product": lambda dz, w: dz.T @ w.T},
        "derivative",
        "the cotangent of the matrix",
    ),
    "one minus output": (
        {"tanh": lambda z, h: 1 - h},
        "derivative",
        "is taken for 1 - y, where y is its output",
    ),
    "sign": ({"i_sign": -1.0}, "derivative", "the product in `i * jax.nn.sigmoid(g)`"),
    "exchanged": ({"split": (1, 0)}, "exchanged", "outputs 1 and 2 of the split in `jnp.split(h, 2, 1)`"),
    "left out": ({"scale": 1.0}, "constant", "the constant 0.3 of the product in `0.3 * (x @ w)`"),
    "first of two": ({"mask": False}, "constant", "the first of its two values is used everywhere"),
    "second of two": (
        {"mask": True},
        "constant",
        "the mask of the select_n in `jnp.where(OFF_DIAGONAL, gated, x)`",
    ),
}


def test_the_table_has_them_all():
    elsewhere = {"output", "overwritten"}  # of steps that this network has not: in `test_words`
    elsewhere |= {"along another axis", "mean for maximum", "stride"}  # in `test_layouts`
    assert set(PLANTED) | elsewhere == {row.name for row in primitive_mistakes.TABLE}


def test_the_right_one_is_right():
    assert report_on().ok


@pytest.mark.parametrize("change", PLANTED)
def test_a_mistake_is_named(change):
    changes, kind, text = PLANTED[change]
    findings = [f for f in report_on(**changes).findings if f.kind == kind]
    assert findings
    assert text in findings[0].text


def test_a_share_that_is_off_by_a_factor_is_named():
    found = [f for f in report_on(mean=0.5).findings if f.path == "x"]
    assert [f.kind for f in found] == ["factor"]
    assert "what goes through the sum over axes (0,) of an array (4, 4)" in found[0].text
    assert "is 0.5 times what it should be" in found[0].text


def recurrent(xs, w):
    """h_t = tanh(h_{t-1} w + x_t) from h_0 = 0; all h."""

    def step(h, x):
        h = jnp.tanh(jnp.dot(h, w) + x)
        return h, h

    return jax.lax.scan(step, jnp.zeros_like(xs[0]), xs)[1]


def recurrent_by_hand(residuals, d_hs, *, turned=True, carried=1.0, steps_of_w=slice(None)):
    hs, w = residuals

    def step(dh, at):
        h, d_output = at
        dz = (d_output + dh) * (1 - h * h)
        return carried * (dz @ (w.T if turned else w)), dz

    _, dz = jax.lax.scan(step, jnp.zeros_like(hs[0]), (hs, d_hs), reverse=True)
    before = jnp.concatenate([jnp.zeros_like(hs[:1]), hs[:-1]])
    return dz, jnp.einsum("ti,tj->ij", before[steps_of_w], dz[steps_of_w])


IN_A_LOOP = {
    "right": ({}, None, ""),
    "not transposed": (
        {"turned": False},
        "derivative",
        "the Jacobian of the matrix product in `jnp.dot(h, w)`",
    ),
    "not carried": ({"carried": 0.0}, "derivative", "the derivative of the"),
    "the last step": ({"steps_of_w": slice(-1, None)}, "path", "only use 5 of 5 of the argument"),
}


@pytest.mark.parametrize("mistake", IN_A_LOOP)
def test_a_mistake_in_a_loop_is_named(mistake):
    changes, kind, text = IN_A_LOOP[mistake]
    xs = np.random.default_rng(1).normal(size=(5, 4))

    def fwd(xs, w):
        hs = recurrent(xs, w)
        return hs, (hs, w)

    report = verify.check(
        fwd, lambda residuals, d: recurrent_by_hand(residuals, d, **changes), xs, W, reference=recurrent,
        level="quick",
    )  # fmt: skip
    assert report.ok is (kind is None), str(report)
    assert kind is None or any(f.kind == kind and text in f.text for f in report.findings), str(report)
