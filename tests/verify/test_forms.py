"""Other forms of a gradient: a rule for tangents, the gradient of a model, a function with no rule at all."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_ref import verify

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3)) + 2
QUICKER = dict.fromkeys(("transforms", "reference", "batches", "shrinking"), "not looked at here")


def rule(f, tangent):
    """`f` with a rule for its tangent: `tangent(primals, tangents)`."""
    ruled = jax.custom_jvp(f)
    ruled.defjvp(lambda primals, tangents: (f(*primals), tangent(primals, tangents)))
    return ruled


def product(x, y):
    return x * y


def row_softmax(x):
    return jax.nn.softmax(x, -1)


def of_softmax(primals, tangents):
    y = row_softmax(primals[0])
    return y * (tangents[0] - (y * tangents[0]).sum(-1, keepdims=True))


JVP = {
    "sine": (rule(jnp.sin, lambda p, t: t[0] * jnp.cos(p[0])), jnp.sin, (X,), None, ""),
    "softmax": (rule(row_softmax, of_softmax), row_softmax, (X,), None, ""),
    "product": (rule(product, lambda p, t: t[0] * p[1] + p[0] * t[1]), product, (X, Y), None, ""),
    "a use forgotten": (rule(product, lambda p, t: t[0] * p[1]), product, (X, Y), "y", "it is zero"),
    "a sign": (rule(jnp.sin, lambda p, t: -t[0] * jnp.cos(p[0])), jnp.sin, (X,), "x", "wrong sign"),
    "the statistic": (
        rule(row_softmax, lambda p, t: row_softmax(p[0]) * t[0]), row_softmax, (X,), "x", "for a constant",
    ),
    "magnitude": (
        rule(jnp.sin, lambda p, t: jnp.abs(t[0]) * jnp.cos(p[0])), jnp.sin, (X,), "x",
        "the rule is not linear in its tangent: for -1 times it",
    ),
    "a sum": (
        rule(jnp.sin, lambda p, t: jnp.cbrt(t[0] ** 3 + t[0] ** 2 * t[0].mean()) * jnp.cos(p[0])),
        jnp.sin, (X,), "x", "the rule is not linear in its tangent: for the sum",
    ),
    "a constant added": (
        rule(jnp.sin, lambda p, t: t[0] * jnp.cos(p[0]) + 1e-3), jnp.sin, (X,), "x", "not linear in its",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", JVP)
def test_a_rule_for_tangents(name):
    f, reference, args, path, text = JVP[name]
    report = verify.check_jvp(f, *args, reference=reference, skip=QUICKER)
    assert report.ok is (path is None), str(report)
    assert path is None or any(f.path == path and text in f.text for f in report.findings), str(report)


def test_a_rule_for_tangents_of_many_entries_and_in_float32():
    x = RNG.normal(size=(40, 30)).astype(np.float32)
    assert verify.check_jvp(JVP["softmax"][0], x, reference=row_softmax, level="quick").ok
    negated = JVP["a sign"][0]
    assert not verify.check_jvp(negated, x, reference=jnp.sin, level="quick", skip=QUICKER).ok
    small = x[:3, :2]
    assert verify.check_jvp(JVP["sine"][0], small, reference=jnp.sin, skip=QUICKER).ok


def loss(params, batch, *, power=2):
    x, y = batch
    return jnp.mean((jnp.tanh(x @ params["w"] + params["b"][None]) - y) ** power)


def with_state(params, state, batch):
    x, _ = batch
    return loss(params, batch) + (state * x.mean(0)).sum(), 0.9 * state + 0.1 * x.mean(0)


PARAMS = {"w": RNG.normal(size=(3, 2)), "b": RNG.normal(size=2), "steps": np.array(3)}
BATCH = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 2))
STATE = RNG.normal(size=3)


def gradient_of(f, **options):
    return jax.value_and_grad(f, allow_int=True, **options)


def changed(f, change):
    def value_and_grad(*args):
        value, grads = f(*args)
        return value, change(grads)

    return value_and_grad


MODELS = {
    "right": (gradient_of(loss), loss, (BATCH,), None),
    "with a state": (gradient_of(with_state, has_aux=True), with_state, (STATE, BATCH), None),
    "a sum for a mean": (
        changed(gradient_of(loss), lambda g: g | {"b": 10 * g["b"]}), loss, (BATCH,), r"\] params\['b'\]",
    ),
    "a leaf missing": (
        changed(gradient_of(loss), lambda g: {"w": g["w"], "steps": None}), loss, (BATCH,),
        r"structure\] params\['b'\]: no cotangent",
    ),
    "transposed": (
        changed(gradient_of(loss), lambda g: g | {"w": g["w"].T}), loss, (BATCH,),
        r"structure\] params\['w'\]",
    ),
    "another loss": (
        lambda p, b: (loss(p, b) + 1, gradient_of(loss)(p, b)[1]), loss, (BATCH,), r"forward\] output",
    ),
    "another state": (
        lambda p, s, b: ((with_state(p, s, b)[0], s), gradient_of(with_state, has_aux=True)(p, s, b)[1]),
        with_state, (STATE, BATCH), r"forward\] output\[1\]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_whole_model(name):
    value_and_grad, reference, data, text = MODELS[name]
    skip = dict.fromkeys(("shrinking", "ladder"), "not looked at here")
    report = verify.check_value_and_grad(value_and_grad, PARAMS, *data, reference=reference, skip=skip)
    assert report.ok is (text is None), str(report)
    assert text is None or any(re.search(text, str(f)) for f in report.findings), str(report)
    assert all(leaf.path.startswith("p") for leaf in report.leaves)


def test_what_value_and_grad_returns_is_told():
    no_pair: Any = loss
    report = verify.check_value_and_grad(no_pair, PARAMS, BATCH, reference=loss)
    assert [f.kind for f in report.findings] == ["raises"]
    assert "value_and_grad returned an array; expected (loss, gradients)" in report.findings[0].text
    with pytest.raises(TypeError, match="reference was None; expected the loss"):
        verify.check_value_and_grad(gradient_of(loss), PARAMS, BATCH)


def ruled():
    f = jax.custom_vjp(jnp.sin)
    f.defvjp(lambda x: (jnp.sin(x), x), lambda x, d: (d * jnp.cos(x),))
    return f


SINE = ruled()


def by_argument(f):
    ruled = jax.custom_jvp(f)
    ruled.defjvps(lambda t, y, x: t * jnp.cos(x))
    return ruled


PLAIN = {
    "plain": (jnp.sin, jnp.sin, True),
    "of JAX's own rules": (lambda x: jax.nn.relu(x) ** 2, lambda x: jax.nn.relu(x) ** 2, True),
    "a rule": (SINE, jnp.sin, False),
    "a rule under jit": (jax.jit(SINE), jnp.sin, False),
    "a rule under vmap": (lambda x: jax.vmap(SINE)(x), jnp.sin, False),
    "a rule in a loop": (
        lambda x: jax.lax.fori_loop(0, 2, lambda i, x: SINE(x), x), lambda x: jnp.sin(jnp.sin(x)), False,
    ),
    "a rule for tangents": (JVP["sine"][0], jnp.sin, False),
    "a rule for one argument": (by_argument(jnp.sin), jnp.sin, False),
    "a rule for one argument under jit": (jax.jit(by_argument(lambda x: jnp.sin(x))), jnp.sin, False),
    "a rule beside JAX's": (lambda x: SINE(jax.nn.relu(x)), lambda x: jnp.sin(jax.nn.relu(x)), False),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_a_function_without_a_rule_is_told(name):
    f, reference, plain = PLAIN[name]
    report = verify.check_function(f, X, reference=reference, level="quick")
    assert report.ok, str(report)
    assert any("nothing hand-written was found" in note for note in report.notes) is plain, str(report)


def test_a_batch_of_none_is_no_fault():
    nothing = np.zeros((0, 3))
    report = verify.check(
        lambda x, g: (x * g[None], (x, g)),
        lambda res, d: (d * res[1][None], jnp.sum(d * res[0], 0)),
        nothing,
        np.ones(3),
        reference=lambda x, g: x * g[None],
    )
    assert report.ok


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("f", [jnp.sin, lambda x: x * x, jnp.tanh])
def test_a_cast_is_named_by_its_dtype(f, dtype):
    x = np.random.default_rng(1).normal(size=(4, 3)).astype("float32")

    def bwd(x, d):
        return (jax.vjp(f, x)[1](d)[0].astype(dtype).astype("float32"),)

    report = verify.check(lambda x: (f(x), x), bwd, x, reference=f)
    assert [found.text for found in report.findings] == [f"it has the digits of {dtype} only"]
