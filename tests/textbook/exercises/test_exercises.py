"""The exercises: their forwards against other ones, their solutions, and what is said of wrong answers."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_ref import verify
from manual_bp.textbook.exercises import EXERCISES
from tests.textbook.exercises.right_answers import RIGHT
from tests.textbook.exercises.wrong_answers import WRONG


def _tied(x, W):
    return jnp.einsum("bh,ih->bi", jnp.tanh(jnp.einsum("bi,ih->bh", x, W)), W)


def _network(x, W1, b1, W2, b2, labels):
    logits = jnp.tanh(x @ W1 + b1[None]) @ W2 + b2[None]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def _norm(x, g, c):
    return jax.nn.standardize(x, axis=-1, epsilon=1e-5) * g[None] + c[None]


def _convolution(x, W, c):
    dimensions = ("NWC", "WIO", "NWC")
    return jax.lax.conv_general_dilated(x, W, (1,), "VALID", dimension_numbers=dimensions) + c[None, None]


def _batch_norm(x, g, c):
    return jax.vmap(lambda x, g, c: jax.nn.standardize(x, epsilon=1e-5) * g + c, (1, 0, 0), 1)(x, g, c)


def _lstm_step(x, s, W, U, b):
    z = jnp.concatenate([x, s[0]], -1) @ jnp.concatenate([W, U]) + b[None]
    i, f, g, o = (z.reshape(len(x), 4, -1)[:, gate] for gate in range(4))
    c = s[1] / (1 + jnp.exp(-f)) + jnp.tanh(g) / (1 + jnp.exp(-i))
    return jnp.stack([jnp.tanh(c) / (1 + jnp.exp(-o)), c])


def _recurrence(x, U):
    def step(h, x_t):
        h = jnp.tanh(x_t + h @ U)
        return h, h

    return jax.lax.scan(step, jnp.zeros_like(x[0]), x)[1]


def _attention(q, k, v):
    def of_one(query):
        weights = jnp.exp(jax.vmap(jnp.vdot, (None, 0))(query, k) / jnp.sqrt(float(len(query))))
        return jnp.sum(weights[:, None] * v, 0) / jnp.sum(weights)

    return jax.vmap(of_one)(q)


OTHER = {
    1: lambda z, y: optax.l2_loss(1 / (1 + jnp.exp(-z)), y.astype(z.dtype)).sum(),
    2: lambda u, b: jax.vmap(jnp.add, (0, None))(u, b),
    3: lambda x, W: jnp.einsum("bi,io->bo", x, W),
    4: lambda z, W: jnp.einsum("bh,ho->bo", 1 / (1 + jnp.exp(-z)), W),
    5: lambda z: jnp.exp(z) / jnp.exp(z).sum(-1, keepdims=True),
    6: optax.softmax_cross_entropy_with_integer_labels,
    7: _network,
    8: _tied,
    9: lambda x, W: x + jnp.tanh(jnp.einsum("bf,fg->bg", x, W)),
    10: _norm,
    11: _batch_norm,
    12: _convolution,
    13: _recurrence,
    14: _lstm_step,
    15: _attention,
}
"""Another forward of each exercise, by libraries or by other means."""


def _close(actual, wanted):
    np.testing.assert_allclose(actual, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("number", EXERCISES)
def test_the_forward_is_what_the_statement_says_and_the_solution_its_gradient(number):
    exercise = EXERCISES[number]
    args = exercise.example()
    floating = [i for i, arg in enumerate(args) if jnp.issubdtype(arg.dtype, jnp.floating)]

    def other(*some):
        whole = list(args)
        for i, arg in zip(floating, some, strict=True):
            whole[i] = arg
        return OTHER[number](*whole)

    @jax.jit
    def both(*some):
        wanted, vjp = jax.vjp(other, *some)
        output, residuals = exercise.fwd(*args)
        d_output = jnp.cos(1 + jnp.arange(output.size, dtype=output.dtype)).reshape(output.shape)
        return (output, exercise.bwd(residuals, d_output)), (wanted, vjp(d_output))

    (output, cotangents), (wanted, right) = both(*(args[i] for i in floating))
    _close(output, wanted)
    cotangents = cotangents if isinstance(cotangents, tuple) else (cotangents,)
    assert len(cotangents) == len(right) == len(exercise.returns)
    for name, found, expected in zip(exercise.returns, cotangents, right, strict=True):
        assert found.shape == expected.shape, name
        _close(found, expected)
    names = list(inspect.signature(exercise.fwd).parameters)
    assert exercise.returns == tuple(f"d{names[i]}" for i in floating)


@pytest.mark.parametrize("number", EXERCISES)
def test_a_statement_says_it_all_in_80_columns(number):
    exercise = EXERCISES[number]
    text = f"{exercise}\n{exercise.hint}"
    assert max(map(len, text.splitlines())) <= 80
    for name in exercise.returns:
        assert f"{name} (" in exercise.statement or "each of the shape" in exercise.statement
    assert repr(exercise) == str(exercise)
    assert str(exercise).startswith(f"Exercise {number}. {exercise.title}\n")
    leaves = jax.tree.leaves(exercise.fwd(*exercise.example())[1])
    assert len(leaves) == len(exercise.saved)  # the names that the reader unpacks


SOON = (2, 8)
"""Exercises whose solution the verifier is asked about each time."""


@pytest.mark.parametrize(
    "number", [n if n in SOON else pytest.param(n, marks=pytest.mark.slow) for n in EXERCISES]
)
def test_the_verifier_finds_nothing_wrong_with_a_solution(number):
    exercise = EXERCISES[number]
    report = verify.check_op(exercise, *exercise.example(), dtypes=["float32", "float64"])
    assert report.ok, str(report)
    assert not report.undecided


@pytest.mark.slow
@pytest.mark.parametrize("bwd", [pytest.param(f, id=f.__name__) for f in RIGHT])
def test_another_right_answer_is_not_accused(bwd):
    exercise = EXERCISES[RIGHT[bwd]]
    report = verify.check_op(exercise.answered_by(bwd), *exercise.example(), dtypes=["float32"])
    assert report.ok, str(report)


QUICKLY = (
    "delta_with_y_minus_a",
    "bias_by_the_mean",
    "bias_not_summed",
    "weights_transposed",
    "product_the_wrong_way_round",
    "hidden_without_s_prime",
    "tied_decoder_alone",
)
"""Wrong answers that are asked about each time."""


def test_every_exercise_has_wrong_answers():
    numbers = [number for number, _ in WRONG.values()]
    assert all(numbers.count(number) >= 2 for number in EXERCISES)
    assert set(QUICKLY) <= {bwd.__name__ for bwd in WRONG}


@pytest.mark.parametrize(
    "bwd",
    [
        pytest.param(f, id=f.__name__, marks=[] if f.__name__ in QUICKLY else [pytest.mark.slow])
        for f in WRONG
    ],
)
def test_what_is_said_of_a_wrong_answer(bwd):
    number, said = WRONG[bwd]
    exercise = EXERCISES[number]
    report = verify.check_op(
        exercise.answered_by(bwd), *exercise.example(), level="quick", dtypes=["float32"]
    )
    assert {finding.path: finding.kind for finding in report.findings} == {p: k for p, (k, _) in said.items()}
    for finding in report.findings:
        assert said[finding.path][1] in finding.text
