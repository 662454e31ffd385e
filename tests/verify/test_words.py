"""Mistakes of the kinds in public reports are called what they are, each in words of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_ref import verify
from jax_ref.verify import glossary
from jax_ref.verify.points import integers, ladder, signs
from tests.verify.layer import NO_SHRINKING, VALUES_ALONE

RNG = np.random.default_rng(3)
X, V, W = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3)), RNG.normal(size=(4, 4))
IDS = np.array([1, 0, 2, 0])


def said(pair, bwd, *args, reference, skip=VALUES_ALONE):
    """The findings, as kinds and sentences by the path of the leaf."""
    report = verify.check(pair, bwd, *args, reference=reference, skip=skip)
    assert not report.ok
    return {f.path: (f.kind, f.text) for f in report.findings}


# One product: dW, dx and positions in them.


def product(x, w):
    return jnp.dot(w, x)


def product_fwd(x, w):
    return w @ x, (x, w)


def product_bwd(change):
    """`change(dw)`, where the rest is right."""
    return lambda res, d: (res[1].T @ d, change(d @ res[0].T))


AT_POSITIONS = {
    "on the diagonal of axes 0 and 1": lambda dw: dw * (1 - jnp.eye(4)),
    "above the diagonal of axes 0 and 1": jnp.tril,
    "on the diagonal of axes 0 and 1 and below": lambda dw: jnp.triu(dw, 1),
    "next to the diagonal of axes 0 and 1, below": lambda dw: dw * (1 - jnp.eye(4, k=-1)),
}


@pytest.mark.parametrize("where", AT_POSITIONS)
def test_wrong_at_positions(where):
    found = said(product_fwd, product_bwd(AT_POSITIONS[where]), X, W, reference=product)
    assert found["w"] == ("conditional", f"it is wrong only {where}")


def test_wrong_after_the_last_whole_block():
    x, w = RNG.normal(size=(7, 3)), RNG.normal(size=(2, 7))
    found = said(product_fwd, product_bwd(lambda dw: dw.at[:, 4:].set(0)), x, w, reference=product)
    assert found["w"] == (
        "conditional",
        "it is wrong only after the last whole block of 4 entries along axis 1",
    )


def test_wrong_by_an_integer_of_another_axis():
    kinds = np.array([0, 2, 1])

    def scaled(x, kinds):
        return x * (1 + kinds)[None].astype(x.dtype)

    found = said(
        lambda x, kinds: (scaled(x, kinds), kinds),
        lambda k, d: (jnp.where(k[None] == 2, 0, scaled(d, k)), None),
        X, kinds, reference=scaled,
    )  # fmt: skip
    assert found["x"] == ("conditional", "it is wrong only where kinds, along axis 1, is 2")


def test_wrong_at_the_label():
    labels = np.array([2, 0, 1, 2])

    def picked(x, labels):
        return x * x + jnp.take_along_axis(x, labels[:, None], 1)

    def bwd(res, d):
        x, labels = res
        at = jax.nn.one_hot(labels, 3, dtype=x.dtype)
        return d * 2 * x + 0.5 * at * d.sum(1, keepdims=True), None

    found = said(lambda x, labels: (picked(x, labels), (x, labels)), bwd, X, labels, reference=picked)
    assert found["x"] == ("conditional", "it is wrong only at the entry of each row that labels names")


# Indices.


def looked_up(table, ids):
    return table[ids]


@pytest.mark.parametrize("stays", ["last", "first"])
def test_repeated_indices_are_overwritten(stays):
    step = -1 if stays == "first" else 1  # of several writes the last stays

    def bwd(ids, d):
        return jnp.zeros((3, 2), d.dtype).at[ids[::step]].set(d[::step]), None

    table = RNG.normal(size=(3, 2))
    kind, text = said(lambda table, ids: (table[ids], ids), bwd, table, IDS, reference=looked_up)["table"]
    assert kind == "conditional"
    assert text.startswith("repeated indices are overwritten, not added to: in the rows that ids names more")
    assert text.endswith(f"only the {stays} share stays")


def test_repeated_indices_of_one_use():
    table = RNG.normal(size=(3, 3))

    def tied(table, ids):
        return jnp.dot(table[ids], table)

    def bwd(res, d):
        table, ids = res
        return table[ids].T @ d + jnp.zeros_like(table).at[ids].set(d @ table.T), None

    kind, text = said(lambda table, ids: (tied(table, ids), (table, ids)), bwd, table, IDS, reference=tied)[
        "table"
    ]
    assert kind == "conditional"
    assert "repeated indices are overwritten, not added to" in text
    assert "`table[ids]`" in text


# Sums within the backward, values and constants.


def softmax(x):
    return jax.nn.softmax(x, axis=-1)


def centred(x):
    h = x - jnp.mean(x, 0, keepdims=True)
    return h / jnp.sqrt(jnp.mean(h * h, 0, keepdims=True) + 1e-5)


def centred_bwd(x, d, axes):
    h = x - jnp.mean(x, 0, keepdims=True)
    inverse = 1 / jnp.sqrt(jnp.mean(h * h, 0, keepdims=True) + 1e-5)
    hat = h * inverse
    return (inverse * (d - jnp.mean(d, axes, keepdims=True) - hat * jnp.mean(d * hat, axes, keepdims=True)),)


SUMS = {
    "summed over axes (0,)": (softmax, lambda p, d: p * (d - jnp.sum(p * d, 0, keepdims=True))),
    "summed over axes (0, 1)": (softmax, lambda p, d: p * (d - jnp.sum(p * d))),
    "not summed at all": (softmax, lambda p, d: p * (d - p * d)),
}
MIX = RNG.normal(size=(3, 5))
"""After the softmax, so that the whole has no Jacobian to be reduced to its diagonal."""


@pytest.mark.parametrize("how", SUMS)
def test_a_sum_over_other_axes(how):
    reference, bwd = SUMS[how]

    def mixed(x):
        return jnp.dot(reference(x), MIX)

    found = said(lambda x: (mixed(x), softmax(x)), lambda p, d: (bwd(p, d @ MIX.T),), X, reference=mixed)
    kind, text = found["x"]
    assert (kind, text.rpartition(" is ")[2]) == ("reduction", how)
    assert "`jax.nn.softmax(x, axis=-1)`" in text


@pytest.mark.parametrize("axes", [1, (0, 1)])
def test_means_of_a_normalisation_over_other_axes(axes):
    bwd = lambda x, d: centred_bwd(x, d, axes)  # noqa: E731
    kind, text = said(lambda x: (centred(x), x), bwd, X, reference=centred)["x"]
    assert kind == "reduction"
    assert text.endswith(f"is summed over axes {(axes,) if axes == 1 else axes}")


def test_a_captured_constant_for_a_statistic():
    captured = 1 / np.array([0.5, 0.7, 0.9])
    found = said(lambda x: (centred(x), x), lambda x, d: (d * captured[None],), X, reference=centred)
    kind, text = found["x"]
    assert kind == "statistic"
    assert "are they captured?" in text


def test_statistics_of_groups_for_constants():
    groups = np.array([0, 0, 1, 1, 1])

    def shares(x):
        exp = jnp.exp(x - jax.ops.segment_max(x, groups, 2)[groups])
        return exp / jax.ops.segment_sum(exp, groups, 2)[groups]

    x = RNG.normal(size=5)
    kind, text = said(lambda x: (shares(x), shares(x)), lambda p, d: (p * d,), x, reference=shares)["x"]
    assert kind == "statistic"
    assert "the maximum by index of an array (5,) for a constant" in text
    assert "the sum by index of an array (5,) for a constant" in text


def test_one_norm_for_another():
    def cosine(x, y):
        return jnp.sum(x * y, 1) / (jnp.linalg.norm(x, axis=1) * jnp.linalg.norm(y, axis=1))

    def bwd(res, d):
        (x, y), lengths = res, [jnp.linalg.norm(z, axis=1, keepdims=True) for z in res]
        u, v = x / lengths[0], y / lengths[1]
        du, dv = (a - jnp.sum(u * v, 1, keepdims=True) * b for a, b in ((v, u), (u, v)))
        return d[:, None] * du / lengths[1], d[:, None] * dv / lengths[1]

    found = said(lambda *args: (cosine(*args), args), bwd, X, V, reference=cosine)
    kind, text = found["x"]
    assert kind == "factor"
    assert "multiplied by the value of the sqrt in `jnp.linalg.norm(x, axis=1)`" in text
    assert "divided by that of the sqrt in `jnp.linalg.norm(y, axis=1)`" in text
    assert set(found) == {"x"}


def evaluated(x, mean, scale):
    return (x - mean[None]) / scale[None]


def evaluated_as_in_training(res, d):
    x, mean, scale = res
    dx = d / scale[None]
    return dx - dx.mean(0, keepdims=True), -dx.sum(0), -(dx * (x - mean[None]) / scale[None]).sum(0)


def test_a_statistic_for_a_constant():
    mean, scale = RNG.normal(size=3), RNG.uniform(1, 2, 3)
    found = said(
        lambda *args: (evaluated(*args), args), evaluated_as_in_training, X, mean, scale, reference=evaluated
    )
    kind, text = found["x"]
    assert kind == "statistic"
    assert "mean for the mean of x over axes (0,), in the derivative alone" in text


def test_a_value_from_before_a_step():
    def layer(x, w):
        return jnp.dot(jnp.tanh(x), w)

    def bwd(res, d):
        x, w = res
        return d @ w.T * (1 - jnp.tanh(x) ** 2), x.T @ d

    kind, text = said(lambda *res: (layer(*res), res), bwd, W, X, reference=layer)["w"]
    assert kind == "value"
    assert text.endswith("is with x, from before the tanh, for its input 1")


def test_a_state_from_after_the_step_of_a_loop():
    def scan(a, x):
        def step(h, at):
            h = at[0] * h + at[1]
            return h, h

        return jax.lax.scan(step, jnp.zeros_like(x[0]), (a, x))[1]

    def bwd(res, d):
        a, h = res
        step = lambda dh, at: (at[0] * (dh + at[1]), dh + at[1])  # noqa: E731
        _, dh = jax.lax.scan(step, jnp.zeros_like(d[0]), (a, d), reverse=True)
        return dh * h, dh

    kind, text = said(lambda a, x: (scan(a, x), (a, scan(a, x))), bwd, X, V, reference=scan)["a"]
    assert kind == "value"
    assert "is with the value of the add in `at[0] * h + at[1]`" in text


def test_one_cotangent_made_from_another():
    def layer(x, w, b):
        return jnp.tanh(jnp.dot(x, w) + b[None])

    def bwd(res, d):
        x, w, y = res
        dz = d * (1 - y * y)
        dx = dz @ w.T
        return dx, x.T @ dz, dx.sum(0)

    fwd = lambda x, w, b: (layer(x, w, b), (x, w, layer(x, w, b)))  # noqa: E731
    found = said(fwd, bwd, RNG.normal(size=(5, 4)), W, RNG.normal(size=4), reference=layer)
    assert found["b"] == ("exchanged", "it is the sum over axes (0,) of the cotangent of x")


def test_one_share_counted_by_another_number():
    def twice(x):
        return jnp.sin(x) + x**3

    def bwd(x, d):
        return (d * (jnp.cos(x) + 0.75 * x * x),)

    kind, text = said(lambda x: (twice(x), x), bwd, X, reference=twice)["x"]
    assert kind == "path"
    assert "use 2 of 2 of the argument in the reference is counted 0.25 times, that in `x**3`" in text


def test_the_slope_of_tanh_without_its_square():
    def layer(x):
        return jnp.sin(jnp.tanh(x))

    def bwd(x, d):
        a = jnp.tanh(x)
        return (d * jnp.cos(a) * (1 - a),)

    kind, text = said(lambda x: (layer(x), x), bwd, X, reference=layer)["x"]
    assert kind == "derivative"
    assert text.endswith("is taken for 1 - y, where y is its output")


def test_the_slope_of_a_sine_by_its_output():
    kind, text = said(lambda x: (jnp.sin(x), x), lambda x, d: (d * jnp.sin(x),), X, reference=jnp.sin)["x"]
    assert kind == "derivative"
    assert text.endswith("is taken for y, its output")


def test_an_output_whose_cotangent_is_ignored():
    def both(x):
        mean = jnp.mean(x, 0)
        return x - mean[None], mean

    def bwd(_, d):
        return (d[0] - d[0].mean(0)[None],)

    found = said(lambda x: (both(x), None), bwd, X, reference=both)
    assert found["x"] == ("cotangent ignored", "the cotangent of output[1] is not used")


def test_wrong_at_ties_alone():
    def largest(x):
        return jnp.max(x, 1)

    def bwd(x, d):
        return (jnp.where(x == jnp.max(x, 1, keepdims=True), d[:, None], 0),)

    kind, text = said(lambda x: (largest(x), x), bwd, RNG.normal(size=(6, 8)), reference=largest)["x"]
    assert kind == "conditional"
    assert text.startswith("it is wrong only where there are ties or zeros (right at the example")


def test_nan_comes_of_a_zero():
    def scaled(x, gain):
        return x * gain[None]

    def bwd(res, d):
        y, gain = res
        return d * gain[None], (d * y / gain[None]).sum(0)

    gain = np.array([0.5, 0.0, 2.0])
    kind, text = said(
        lambda x, gain: (scaled(x, gain), (scaled(x, gain), gain)), bwd, X, gain, reference=scaled
    )["gain"]
    assert kind == "not finite"
    assert "it comes of gain being 0" in text


# Factors.


def attended(q, k):
    return jnp.dot(q, k.T) / q.shape[1] ** 0.5


@pytest.mark.parametrize(
    ("factor", "text"),
    [
        (lambda q: q.shape[1] ** 0.5, "sqrt q.shape[1] with q.shape[1] = 4"),
        (lambda q: 2.0, "2"),
        (
            lambda q: 1 / (len(q) * q.shape[1]),
            "1/(q.shape[0] q.shape[1]) with q.shape[0] = 3, q.shape[1] = 4",
        ),
        (lambda q: 1 / 3, "0.3333333"),
    ],
)
def test_a_factor_is_told_from_a_size(factor, text):
    q, k = RNG.normal(size=(3, 4)), RNG.normal(size=(5, 4))

    def bwd(res, d):
        q, k = res
        d = d / q.shape[1] ** 0.5
        return d @ k * factor(q), d.T @ q

    found = said(lambda *res: (attended(*res), res), bwd, q, k, reference=attended)
    assert found["q"] == ("factor", f"it is {text} times the right one")


def test_the_pasted_example_says_the_same():
    def bwd(ids, d):
        return jnp.zeros((6, 3), d.dtype).at[ids].set(d), None

    table, ids = RNG.normal(size=(6, 3)), np.array([1, 4, 1, 0, 4, 1, 2])
    pair = lambda table, ids: (table[ids], ids)  # noqa: E731
    finding = verify.check(pair, bwd, table, ids, reference=looked_up).findings[0]
    assert sum(map(np.size, finding.example)) < table.size + ids.size
    again = verify.check(pair, bwd, *finding.example, reference=looked_up, level="quick", skip=NO_SHRINKING)
    assert [f.text for f in again.findings] == [finding.text]


def test_a_shorter_way_for_equal_cotangents_that_is_wrong():
    """As of a loss, whose cotangents are equal behind a mean and nowhere else."""

    def bwd(x, d):
        return (jnp.where(jnp.all(d == d.ravel()[0]), 2 * x * d / len(x), 2 * x * d),)

    report = verify.check(lambda x: (x * x, x), bwd, X, reference=lambda x: x * x, skip=VALUES_ALONE)
    (finding,) = report.findings
    assert finding.text.endswith(" (right at the example, wrong at: equal cotangents)")


# Right pairs: nothing is said of them; and the words of a report.


@pytest.mark.parametrize("reference", [softmax, centred])
def test_the_right_ones_are_right(reference):
    def bwd(x, d):
        return jax.vjp(reference, x)[1](d)

    assert verify.check(lambda x: (reference(x), x), bwd, X, reference=reference, skip=VALUES_ALONE).ok


def test_every_word_is_explained():
    names = {*ladder.LADDER, *signs.OPPOSITE, *integers.IDS, "example", "equal cotangents", "a batch of"}
    assert names <= set(verify.WORDS) == set(glossary.WORDS)
    report = verify.check(lambda x: (jnp.sin(x), x), lambda x, d: (d * x,), X, reference=jnp.sin)
    assert {"leaf", "shape", "dtype", "verdict"} | set(verify.WORDS) >= set(
        str(report).splitlines()[2].split()
    )
    assert {leaf.verdict for leaf in report.leaves} <= set(verify.WORDS)
    assert "jax_ref.verify.WORDS" in str(report)
