"""Error messages at trace time: the argument that cannot work, what it was and what was expected."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import pytest

from manual_bp.models import mlp
from manual_bp.ops import (
    activations,
    dense,
    huber,
    log_softmax,
    sigmoid_cross_entropy,
    softmax,
    softmax_cross_entropy,
    squared_error,
)


@pytest.fixture(autouse=True)
def _without_runtime_types():
    """The user has no type checker at run time: the messages must be the ops' own."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


X = jnp.ones((7, 5))
W = dense.Params(jnp.ones((5, 3)), jnp.ones(3))
LABELS = jnp.zeros(7, int)
A_LIST: Any = [1.0] * 5
NET = mlp.init(jax.random.key(0), [5, 4, 3], dtype=jnp.float64)
ce, bce = softmax_cross_entropy, sigmoid_cross_entropy

# what is called, the type of the error, and its message
BAD = [
    (lambda: dense.fwd(W, X[:, :4]), ValueError,
     "dense: x has shape (7, 4); expected 5 features in its last axis, as params.w has shape (5, 3)"),
    (lambda: dense.fwd(W, X.astype(jnp.float32)), TypeError,
     "dense: x has dtype float32; expected float64"),
    (lambda: dense.fwd(W, LABELS), TypeError,
     "dense: x has dtype int64; expected a floating point dtype"),
    (lambda: dense.fwd(W, A_LIST), TypeError, "dense: x is a list; expected a floating point array"),
    (lambda: dense.fwd(W, jnp.array(1.0)), ValueError,
     "dense: x is a scalar; expected at least one axis"),
    (lambda: dense.fwd(W._replace(b=jnp.ones(4)), X), ValueError,
     "dense: params.b has shape (4,); expected (3,), as params.w has shape (5, 3)"),
    (lambda: dense.fwd(W._replace(w=jnp.ones(5)), X), ValueError,
     "dense: params.w has shape (5,); expected two axes"),
    (lambda: dense.bwd(W, X, X), ValueError,
     "dense: dy has shape (7, 5); expected (7, 3), the shape of the output"),
    (lambda: dense.bwd(W, X, jnp.ones((7, 3), jnp.float32)), TypeError,
     "dense: dy has dtype float32; expected float64"),
    (lambda: dense.init(jax.random.key(0), 5, 0), ValueError,
     "dense.init: out_features was 0; expected a positive width"),
    (lambda: dense.init(jax.random.key(0), 5, 3, initializer="glorat"), ValueError,
     "dense.init: initializer was 'glorat'; did you mean 'glorot'? Known: glorot, he, near_zero"),
    (lambda: activations.relu.fwd(LABELS), TypeError,
     "relu: z has dtype int64; expected a floating point dtype"),
    (lambda: activations.relu.bwd(X, X[:1]), ValueError,
     "relu: da has shape (1, 5); expected (7, 5), the shape of the output it belongs to"),
    (lambda: activations.hard_tanh.bwd(X > 0, X[:1]), ValueError,
     "hard_tanh: da has shape (1, 5); expected (7, 5)"),
    (lambda: softmax.fwd(X, axis=2), ValueError,
     "softmax: axis was 2; expected an axis of x, whose shape is (7, 5)"),
    (lambda: softmax.fwd(X, jnp.ones((7, 5))), TypeError,
     "softmax: mask has dtype float64; expected bool"),
    (lambda: log_softmax.fwd(X, jnp.ones((5, 7), bool)), ValueError,
     "log_softmax: mask has shape (5, 7); expected one that broadcasts to x's (7, 5)"),
    (lambda: softmax.bwd(X, X[0]), ValueError, "softmax: dp has shape (5,); expected (7, 5)"),
    (lambda: squared_error.fwd(X, X[:, :1]), ValueError,
     "squared_error: t has shape (7, 1); expected (7, 5), the shape of y"),
    (lambda: squared_error.fwd(X, X.astype(jnp.float32)), TypeError,
     "squared_error: t has dtype float32; expected float64"),
    (lambda: squared_error.bwd(X, jnp.ones(())), ValueError,
     "squared_error: dloss has shape (); expected (7,), one value per example"),
    (lambda: huber.fwd(X, X, delta=0.0), ValueError,
     "huber: delta was 0.0; expected a positive number"),
    (lambda: ce.fwd(X, LABELS[:6]), ValueError,
     "softmax_cross_entropy: targets has shape (6,); expected (7,), one label per example"),
    (lambda: ce.fwd(X, X[:, :4]), ValueError,
     "softmax_cross_entropy: targets has shape (7, 4); expected (7, 5), a distribution"),
    (lambda: ce.fwd(X, X > 0), TypeError,
     "softmax_cross_entropy: targets has dtype bool; expected integer labels or a floating point"),
    (lambda: ce.fwd(X, LABELS, X), ValueError,
     "softmax_cross_entropy: weights has shape (7, 5); expected (7,), one weight per example"),
    (lambda: ce.fwd(X, LABELS, LABELS), TypeError,
     "softmax_cross_entropy: weights has dtype int64; expected a floating point dtype"),
    (lambda: ce.fwd(X, LABELS, label_smoothing=1.5), ValueError,
     "softmax_cross_entropy: label_smoothing was 1.5; expected a number from 0 to 1"),
    (lambda: ce.fwd(X, LABELS, z_loss=-1.0), ValueError,
     "softmax_cross_entropy: z_loss was -1.0; expected a number of at least 0"),
    (lambda: ce.fwd(X, X, ignore_label=-1), ValueError,
     "softmax_cross_entropy: ignore_label was -1; expected None, as the targets are distributions"),
    (lambda: bce.fwd(X, LABELS), ValueError,
     "sigmoid_cross_entropy: targets has shape (7,); expected (7, 5), the shape of the logits"),
    (lambda: bce.fwd(X, X, jnp.ones(7)), ValueError,
     "sigmoid_cross_entropy: pos_weight has shape (7,); expected (5,), one weight per label"),
    (lambda: mlp.init(jax.random.key(0), [5]), ValueError,
     "mlp.init: widths was [5]; expected at least two widths"),
    (lambda: mlp.fwd(NET, X, activation="rleu"), ValueError,
     "mlp: activation was 'rleu'; did you mean 'relu'? Known: elu, gelu"),
    (lambda: mlp.value_and_grad(NET, (X, LABELS), loss="cross_entropy"), ValueError,
     "mlp: loss was 'cross_entropy'; did you mean 'softmax_cross_entropy'?"),
    (lambda: mlp.value_and_grad(NET, (X[:0], LABELS[:0])), ValueError,
     "mlp: batch was (0, 5); expected at least one example"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), BAD, ids=[row[2][:60] for row in BAD])
def test_message_names_the_argument_and_what_was_expected(call, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        call()
    with pytest.raises(kind, match=re.escape(message)):  # at trace time too, not when it runs
        jax.eval_shape(lambda: call())
