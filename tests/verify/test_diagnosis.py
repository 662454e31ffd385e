"""A wrong cotangent is called what it is."""

import pkgutil

import jax.numpy as jnp
import numpy as np
import pytest

from jax_ref import verify
from jax_ref.verify import diagnosis
from tests.verify.layer import NO_SHRINKING, VALUES_ALONE, B, W, X, bwd, fwd, reference, wrong

MISTAKES = {
    "factor": wrong(lambda dx, dw, db, res, dy: (dx, dw / len(dy), db)),
    "sign": wrong(lambda dx, dw, db, res, dy: (dx, dw, -db)),
    "zero": wrong(lambda dx, dw, db, res, dy: (0 * dx, dw, db)),
    "flipped": wrong(lambda dx, dw, db, res, dy: (dx, dw[::-1], db)),
    "shifted": wrong(lambda dx, dw, db, res, dy: (dx, dw, jnp.roll(db, 1))),
    "added term": wrong(lambda dx, dw, db, res, dy: (dx, dw + 0.1 * res[1], db)),
    "cotangent ignored": wrong(lambda dx, dw, db, res, dy: (dx, dw, bwd(res, jnp.ones_like(dy))[2])),
    "not linear": wrong(lambda dx, dw, db, res, dy: (dx, bwd(res, jnp.abs(dy))[1], db)),
    "reduction": wrong(lambda dx, dw, db, res, dy: (dx, dw, (dy * (1 - res[2] ** 2))[-1])),
    "conditional": wrong(lambda dx, dw, db, res, dy: (jnp.where(res[0] < 0, 2 * dx, dx), dw, db)),
    "batch": wrong(lambda dx, dw, db, res, dy: (dx if len(dy) > 1 else 0 * dx, dw, db)),
    "precision": wrong(lambda dx, dw, db, res, dy: (dx.astype(jnp.float16).astype(dx.dtype), dw, db)),
    "not finite": wrong(lambda dx, dw, db, res, dy: (dx, dw.at[0, 1].set(jnp.nan), db)),
    "structure": wrong(lambda dx, dw, db, res, dy: (dx, dw, db[None])),
    "raises": wrong(lambda dx, dw, db, res, dy: (dx, dw @ dw, db)),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_named(kind):
    skip = NO_SHRINKING if kind == "batch" else VALUES_ALONE
    report = verify.check(fwd, MISTAKES[kind], X, W, B, reference=reference, skip=skip)
    assert not report.ok
    assert [finding.kind for finding in report.findings] == [kind], str(report)
    assert set(verify.KINDS) >= {kind}


def test_transposed_and_exchanged():
    def square(a, b):
        return a @ b, (a, b)

    def product(a, b):
        return jnp.dot(a, b)

    a, b = np.random.default_rng(1).normal(size=(2, 4, 4))
    right = lambda res, d: (d @ res[1].T, res[0].T @ d)  # noqa: E731
    assert verify.check(square, right, a, b, reference=product, skip=VALUES_ALONE).ok
    turned = verify.check(
        square,
        lambda res, d: (right(res, d)[0].T, right(res, d)[1]),
        a,
        b,
        reference=product,
        skip=VALUES_ALONE,
    )
    assert [f.kind for f in turned.findings] == ["transposed"]
    swapped = verify.check(
        square, lambda res, d: right(res, d)[::-1], a, b, reference=product, skip=VALUES_ALONE
    )
    assert {f.kind for f in swapped.findings} == {"exchanged"}


def test_a_statistic_taken_for_a_constant():
    def centred(x):
        return x - jnp.mean(x, -1, keepdims=True)

    report = verify.check(
        lambda x: (centred(x), None), lambda res, d: (d,), X, reference=centred, skip=VALUES_ALONE
    )
    assert [f.kind for f in report.findings] == ["statistic"]
    assert "the sum over axes (1,)" in report.findings[0].text


def test_repeated_ids():
    table, ids = np.random.default_rng(1).normal(size=(6, 3)), np.array([1, 4, 1, 0, 4, 1, 2])

    def lookup(table, ids):
        return table[ids]

    def right(ids, d):
        return jnp.zeros((6, 3), d.dtype).at[ids].add(d), None

    def overwritten(ids, d):
        return jnp.zeros((6, 3), d.dtype).at[ids].set(d), None

    pair = lambda table, ids: (table[ids], ids)  # noqa: E731
    assert verify.check(pair, right, table, ids, reference=lookup, skip=VALUES_ALONE).ok
    report = verify.check(pair, overwritten, table, ids, reference=lookup, skip=VALUES_ALONE)
    assert [f.kind for f in report.findings] == ["conditional"]
    text = report.findings[0].text
    assert "repeated indices are overwritten, not added to: in the rows that ids names more than once" in text


def test_a_use_that_is_forgotten():
    def tied(x, w):
        return jnp.dot(jnp.tanh(jnp.dot(x, w)), w.T)

    def of_the_encoder_only(res, d):
        x, w, h = res
        dz = d @ w * (1 - h**2)
        return dz @ w.T, x.T @ dz

    def pair(x, w):
        return tied(x, w), (x, w, jnp.tanh(x @ w))

    report = verify.check(pair, of_the_encoder_only, X, W, reference=tied, skip=VALUES_ALONE)
    assert [(f.kind, f.path) for f in report.findings] == [("path", "w")]
    assert "of 2 of the argument in the reference" in report.findings[0].text


def test_what_is_right_in_float64_loses_digits():
    def back(x, d):
        dx = d * jnp.cos(x)
        return ((1000 * dx + dx) - 1000 * dx,)

    def report(dtype):
        x = X.astype(dtype)
        return verify.check(lambda x: (jnp.sin(x), x), back, x, reference=jnp.sin, skip=NO_SHRINKING)

    assert report("float64").ok, str(report("float64"))
    found = report("float32").findings
    assert [f.kind for f in found] == ["precision"]
    assert "it is right in float64, but off by" in found[0].text


def test_every_family_of_explanations_is_in_the_order():
    families = {info.name for info in pkgutil.iter_modules(diagnosis.__path__)}
    listed = {generator.__module__.rpartition(".")[2] for generator in diagnosis.ORDER}
    parts = {
        "explanation",
        "contributions",
        "conditions",
        "primitives",
        "primitive_mistakes",
        "primitive_places",
        "not_finite",
        "sizes",
    }
    of_many_devices = {"shards"}  # for check_sharded, which asks it alone
    assert families - listed == parts | of_many_devices  # what families are made with
