"""One head of attention in the letters of note 002: its forms against autodiff, and against the op."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_ref.textbook
from manual_bp.ops import attention as op
from manual_bp.ops import plain_attention
from manual_bp.textbook import attention
from manual_bp.textbook.attention import Head
from tests.textbook.networks import BOUND, error

RNG = np.random.default_rng(0)
B, N, D, T = 3, 4, 2, 3
HEAD = Head(*(jnp.asarray(RNG.normal(size=(D, N))) for _ in range(3)))
X, Y = jnp.asarray(RNG.normal(size=(B, N, T))), jnp.asarray(RNG.normal(size=(B, D, T)))
CAUSAL = pytest.mark.parametrize("causal", [False, True])


def oracle(X, Y, causal):
    """`jax.grad` of the mean cost of a batch of sequences."""

    def cost(head):
        of_one = jax.vmap(lambda x, y: jax_ref.textbook.head_cost(head, x, y, causal=causal))
        return jnp.mean(of_one(X, Y))

    return jax.jit(jax.grad(cost))(HEAD)


def compiled(form):
    """A form as one program: operation by operation it would be a hundred."""
    return jax.jit(form, static_argnames="causal")


@CAUSAL
def test_index_and_vector_form(causal):
    x, y = X[0], Y[0]
    wanted = oracle(x[None], y[None], causal)
    for form in (attention.index_form, attention.gradient):
        assert error(compiled(form)(HEAD, x, y, causal=causal), wanted) <= BOUND
    found = attention.cost(HEAD, x, y, causal=causal)
    assert found == pytest.approx(float(jax_ref.textbook.head_cost(HEAD, x, y, causal=causal)), rel=BOUND)


def test_one_token_has_the_weight_1_whatever_its_score_is():
    x, y = X[0, :, :1], Y[0, :, :1]
    for form in (attention.index_form, attention.gradient):
        found = compiled(form)(HEAD, x, y)
        assert error((found.WV,), (oracle(x[None], y[None], False).WV,)) <= BOUND
        assert not np.any(found.WQ)
        assert not np.any(found.WK)


@CAUSAL
def test_the_batch_form_is_the_mean_of_single_ones(causal):
    found = compiled(attention.batch_form)(HEAD, X, Y, causal=causal)
    assert error(found, oracle(X, Y, causal)) <= BOUND
    singles = [compiled(attention.gradient)(HEAD, X[b], Y[b], causal=causal) for b in range(B)]
    assert error(found, jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]) / B, *singles)) <= BOUND


@pytest.mark.parametrize(("pair", "causal"), [(op, True), (plain_attention, False)])
def test_the_matrix_form_is_the_op(pair, causal):
    states = attention.forward(HEAD, X[0], causal=causal)
    as_op = tuple(x.T[None, :, None] for x in (states.Q, states.K, states.V))
    output, residuals = pair.fwd(*as_op, causal=causal)
    assert error(output[0, :, 0].T, states.O) <= BOUND
    cotangents = pair.bwd(residuals, Y[0].T[None, :, None], causal=causal)
    assert error(tuple(d[0, :, 0].T for d in cotangents), attention.backward(states, Y[0])) <= BOUND


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((HEAD, X[0, :3], Y[0]), r"attention: head.WQ has shape \(2, 4\); expected \(2, 3\), as X has shape"),
        ((HEAD, X[0], Y[0, :1]), r"attention: Y has shape \(1, 3\); expected \(2, 3\)"),
        ((HEAD._replace(WV=X[0]), X[0], Y[0]), r"attention: head.WV has shape \(4, 3\); expected \(2, 4\)"),
        ((HEAD, X, Y), r"attention: the shape of X was \(3, 4, 3\); expected \(n, T\)"),
        ((HEAD, X[0, :, :0], Y[0, :, :0]), r"the shape of X was \(4, 0\); expected \(n, T\), none zero"),
        ((tuple(HEAD), X[0], Y[0]), r"head is a tuple; expected attention.Head\(WQ, WK, WV\)"),
        ((HEAD, jnp.ones((4, 3), int), Y[0]), "attention: X has dtype int64"),
    ],
)
def test_bad_arguments_are_named(args, message):
    for form in (attention.index_form, attention.gradient):
        with pytest.raises((TypeError, ValueError), match=message):
            form(*args)
