"""What the recurrent ops say of themselves: backpropagation in chunks, and lengths that cannot be."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_ref
from jax_ref.verify.oracle import inner
from manual_bp import ops
from tests.cases.case import Draw
from tests.cases.sequences import recurrent
from tests.close import close

CHUNKS = slice(0, 1), slice(1, 3)
"""Of three steps."""


@pytest.fixture(params=["rnn", "lstm", "gru"], scope="module")
def name(request) -> str:
    return request.param


def drawn(name: str, batch: int = 2) -> tuple[Any, ...]:
    """Params, input and first state, and the cotangents of the outputs and of the final state."""
    d = Draw(np.random.default_rng(list(name.encode())))
    args = recurrent(getattr(ops, name), d, (batch,), 2 if name == "gru" else 1)[:3]
    d_outputs = d.real(batch, 3, 3), jax.tree.map(lambda s: d.real(*s.shape), args[2])
    return jax.tree.map(jnp.asarray, (*args, d_outputs))


@partial(jax.jit, static_argnums=0)
def by_hand(name: str, params: Any, x: Any, state: Any, d_outputs: Any, passed: float) -> Any:
    """Outputs and cotangents chunk by chunk; `passed` times a state's cotangent goes to the chunk before."""
    op, residuals, outputs, parts = getattr(ops, name), [], [], []
    for chunk in CHUNKS:
        (ys, state), saved = op.fwd(params, x[:, chunk], state)
        residuals.append(saved)
        outputs.append(ys)
    (dys, d_state), dxs = d_outputs, []
    for chunk, saved in reversed(list(zip(CHUNKS, residuals, strict=True))):
        part, dx, d_first = op.bwd(params, saved, (dys[:, chunk], d_state))
        d_state = jax.tree.map(lambda d: passed * d, d_first)
        parts.append(part)
        dxs.insert(0, dx)
    d_params = jax.tree.map(lambda *parts: sum(parts), *parts)
    return (jnp.concatenate(outputs, 1), state), (d_params, jnp.concatenate(dxs, 1))


@partial(jax.jit, static_argnums=0)
def whole(name: str, params: Any, x: Any, state: Any, lengths: Any, d_outputs: Any) -> Any:
    """Outputs and cotangents of all steps at once."""
    op = getattr(ops, name)
    output, residuals = op.fwd(params, x, state, lengths)
    return output, op.bwd(params, residuals, d_outputs)


@partial(jax.jit, static_argnums=0)
def by_autodiff(name: str, params: Any, x: Any, state: Any, d_outputs: Any) -> Any:
    """The reference with `stop_gradient` between chunks."""
    reference = getattr(jax_ref.ops, name).apply

    def chained(params: Any, x: Any) -> Any:
        outputs, carried = [], state
        for chunk in CHUNKS:
            ys, carried = reference(params, x[:, chunk], jax.lax.stop_gradient(carried))
            outputs.append(ys)
        return jnp.concatenate(outputs, 1), carried

    return chained(params, x), jax.grad(lambda *args: inner(chained(*args), d_outputs), (0, 1))(params, x)


def test_truncated_backpropagation_is_the_op_over_chunks(name):
    args = drawn(name)
    close(by_hand(name, *args, 0.0), by_autodiff(name, *args))


def test_chunks_that_pass_the_cotangent_of_the_state_on_are_the_whole(name):
    params, x, state, d_outputs = drawn(name)
    output, (d_params, dx, _) = whole(name, params, x, state, None, d_outputs)
    close(by_hand(name, params, x, state, d_outputs, 1.0), (output, (d_params, dx)))


def test_an_example_whose_length_cannot_be_is_nan_and_teaches_nothing(name):
    """Outputs and final state are NaN, as then a loss is; whatever its cotangents, the others count alone."""
    params, x, state, d_outputs = drawn(name, batch=4)
    bad, lengths = np.array([1, 3]), jnp.array([3, 4, 2, -1])
    d_outputs = jax.tree.map(lambda d: d.at[bad].set(jnp.nan), d_outputs)
    output, (d_params, *d_inputs) = whole(name, params, x, state, lengths, d_outputs)
    assert all(np.all(np.isnan(y[bad])) for y in jax.tree.leaves(output))
    assert all(np.all(d[bad] == 0) for d in jax.tree.leaves(d_inputs))

    others = jax.tree.map(lambda a: a[::2], (x, state, lengths, d_outputs))
    expected, (d_expected, *d_others) = whole(name, params, *others)
    kept = jax.tree.map(lambda a: a[::2], (output, d_inputs))
    close((kept, d_params), ((expected, d_others), d_expected))
