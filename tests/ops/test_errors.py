"""Error messages at trace time: the argument that cannot work, what it was and what was expected."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import pytest

from manual_bp import differentiable, generation
from manual_bp.models import convnet, gpt, mlp, recurrent
from manual_bp.ops import (
    activations,
    attention,
    batch_norm,
    conv,
    dense,
    dropout,
    embedding,
    frozen_batch_norm,
    gated_mlp,
    group_norm,
    gru,
    huber,
    layer_norm,
    linear_cross_entropy,
    log_softmax,
    lstm,
    plain_attention,
    pool,
    reversible,
    reversible_stack,
    rms_norm,
    rnn,
    rope,
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
NORM = layer_norm.Params(jnp.ones(5), jnp.ones(5))
LABELS = jnp.zeros(7, int)
A_LIST: Any = [1.0] * 5
A_TEXT: Any = "0.1"
A_COMPLEX: Any = 1j
NOTHING: Any = None
TRUE: Any = True
NET = mlp.init(jax.random.key(0), [5, 4, 3], dtype=jnp.float64)
TEXT_NET = recurrent.init(jax.random.key(0), 5, (2, 3), dtype=jnp.float64)
IMAGE_NET = convnet.init(jax.random.key(0), (5, 4, 2), ((3,),), (3,), dtype=jnp.float64)
IMAGES, UNSEEN = jnp.ones((7, 5, 4, 2)), convnet.init_state(IMAGE_NET)
DECODER = gpt.init(jax.random.key(0), 5, layers=1, width=12, heads=6, context=4, dtype=jnp.float64)
IDS, EMPTY = jnp.zeros((7, 4), int), recurrent.zero_state(7, (2, 3), dtype=jnp.float64)
NARROW, HALF = (jax.tree.map(lambda p, d=d: p.astype(d), W) for d in (jnp.float32, jnp.bfloat16))
A_TUPLE: Any = tuple(W)
A_DICT: Any = W._asdict()
ce, bce = softmax_cross_entropy, sigmoid_cross_entropy
KERNEL = conv.Params(jnp.ones((3, 3, 2, 6)), jnp.ones(6))
IMAGE = jnp.ones((2, 5, 4, 4))
CHANNELS = batch_norm.Params(jnp.ones(4), jnp.ones(4))
STATISTICS = batch_norm.Statistics(jnp.ones(4), jnp.ones(4))
GROUPED = group_norm.Params(jnp.ones(4), jnp.ones(4))
TABLE = embedding.Params(jnp.ones((6, 3)))
STEPS, HIDDEN = jnp.ones((7, 4, 5)), jnp.ones((7, 2))
RNN = rnn.Params(jnp.ones((5, 2)), jnp.ones((2, 2)), jnp.ones(2))
LSTM = lstm.Params(jnp.ones((5, 8)), jnp.ones((2, 8)), jnp.ones(8))
GRU = gru.Params(jnp.ones((5, 6)), jnp.ones((2, 6)), jnp.ones(6), jnp.ones(6))
STATE = lstm.State(HIDDEN, HIDDEN)
CELLS: Any = {rnn: RNN, lstm: LSTM, gru: GRU}
STATES: Any = {rnn: HIDDEN, lstm: STATE, gru: HIDDEN}
BAD_WINDOWS: Any = ((3,), (3, 3, 3), 3, (3, 0))
KEY = jax.random.key(0)
TANH = {"f": activations.tanh, "g": activations.tanh}
A_FUNCTION: Any = "tanh"
BAD_STRIDES: Any = (0, -1, (1,), (1, 0), 1.5, True)
BAD_PADDING: Any = ("FULL", 1, ((1, 1),), ((1, 1), (-1, 2)))


Q, K, QUERIES, KEYS = (
    jnp.ones((2, 5, 4, 3)),
    jnp.ones((2, 6, 2, 3)),
    jnp.zeros((2, 5), int),
    jnp.zeros((2, 6), int),
)
MLP = gated_mlp.Params(*(dense.Params(jnp.ones(shape), None) for shape in ((5, 4), (5, 4), (4, 5))))
FIVE: Any = 5
ONE_ALONE: Any = (QUERIES,)
ONE_AND_NONE: Any = (QUERIES, None)
INTEGERS: Any = (1.0, NOTHING, TRUE, A_TEXT, jnp.array(1))
NOT_FINITE: Any = (float("nan"), float("inf"), A_TEXT, A_COMPLEX, TRUE, jnp.array(1.0))
BAD_BLOCKS: Any = (0, (2, 0), (2,), (2, 3, 4), 1.5, TRUE, A_TEXT, [2, 3])
BAD_WIDTHS: Any = (0, 1.5, A_TEXT, TRUE)
OF_THE_LOSS: Any = (
    ("label_smoothing", (-0.1, 1.5, NOTHING, *NOT_FINITE), "a number from 0 to 1"),
    ("z_loss", (-0.1, NOTHING, *NOT_FINITE), "a number of at least 0"),
    ("ignore_label", (2.5, 2**31, A_TEXT, TRUE), "None or an integer from -2^31 to 2^31 - 1"),
    ("soft_cap", (0.0, -1.0, *NOT_FINITE), "None or a positive number"),
    ("chunk", (0, -1, *(i for i in INTEGERS if i is not NOTHING)), "None or a positive integer"),
)
lce = linear_cross_entropy


def backward(name, da):
    """The backward of an activation at X."""
    pair = activations.MEMBERS[name]
    return pair.bwd(pair.fwd(X)[1], da)


# what is called, the type of the error, and its message
def _with_keys(features):
    """The decoder with keys and values of so many features."""
    w = dense.Params(jnp.ones((1, 12, features)), None)
    return DECODER._replace(blocks=DECODER.blocks._replace(k=w, v=w))


BAD = [
    (lambda: dense.fwd(W, X[:, :4]), ValueError,
     "dense: x has shape (7, 4); expected 5 features in its last axis, as params.w has shape (5, 3)"),
    (lambda: dense.fwd(NARROW, X), TypeError,
     "dense: x has dtype float64; expected float32, that of params.w, or a narrower one"),
    (lambda: dense.fwd(HALF, X.astype(jnp.float16)), TypeError,
     "dense: x has dtype float16; expected bfloat16, that of params.w, or a narrower one"),
    (lambda: dense.fwd(W, LABELS), TypeError,
     "dense: x has dtype int64; expected a floating point dtype"),
    (lambda: dense.fwd(W, A_LIST), TypeError, "dense: x is a list; expected a floating point array"),
    (lambda: dense.fwd(W, jnp.array(1.0)), ValueError,
     "dense: x is a scalar; expected at least one axis"),
    (lambda: dense.fwd(W._replace(b=jnp.ones(4)), X), ValueError,
     "dense: params.b has shape (4,); expected (3,), as params.w has shape (5, 3)"),
    (lambda: dense.fwd(W._replace(w=jnp.ones(5)), X), ValueError,
     "dense: params.w has shape (5,); expected two axes"),
    (lambda: dense.fwd(A_TUPLE, X), TypeError,
     "dense: params is a tuple; expected dense.Params(w, b)"),
    (lambda: mlp.fwd(A_DICT, X), TypeError,
     "mlp: params is a dict; expected mlp.Params(layers)"),
    (lambda: dense.bwd(W, X, X), ValueError,
     "dense: dy has shape (7, 5); expected (7, 3), the shape of the output"),
    (lambda: dense.bwd(W, X, jnp.ones((7, 3), jnp.float32)), TypeError,
     "dense: dy has dtype float32; expected float64"),
    (lambda: dense.init(jax.random.key(0), 5, 0), ValueError,
     "dense.init: out_features was 0; expected a positive integer"),
    (lambda: dense.init(jax.random.key(0), 5, 3, initializer="glorat"), ValueError,
     "dense.init: initializer was 'glorat'; did you mean 'glorot'? Known: glorot, he, near_zero"),
    (lambda: activations.relu.fwd(LABELS), TypeError,
     "relu: z has dtype int64; expected a floating point dtype"),
    (lambda: activations.relu.bwd(X, X[:1]), ValueError,
     "relu: da has shape (1, 5); expected (7, 5), the shape of the output it belongs to"),
    *[
        row
        for name in ("identity", "leaky_relu", "hard_tanh")
        for row in (
            (lambda n=name: backward(n, X[:1]), ValueError, f"{name}: da has shape (1, 5); expected (7, 5)"),
            (lambda n=name: backward(n, X.astype(jnp.float32)), TypeError,
             f"{name}: da has dtype float32; expected float64"),
        )
    ],
    (lambda: activations.leaky_relu.fwd(X, slope=A_COMPLEX), ValueError,
     "leaky_relu: slope was 1j; expected a finite number"),
    (lambda: activations.elu.fwd(X, alpha=float("inf")), ValueError,
     "elu: alpha was inf; expected a finite number"),
    (lambda: softmax.fwd(X, axis=2), ValueError,
     "softmax: axis was 2; expected an axis of x, whose shape is (7, 5)"),
    (lambda: softmax.fwd(X, jnp.ones((7, 5))), TypeError,
     "softmax: mask has dtype float64; expected bool"),
    (lambda: log_softmax.fwd(X, jnp.ones((5, 7), bool)), ValueError,
     "log_softmax: mask has shape (5, 7); expected one that broadcasts to x's (7, 5)"),
    (lambda: softmax.fwd(X, TRUE), TypeError, "softmax: mask is a bool; expected an array of booleans"),
    (lambda: log_softmax.fwd(X, A_LIST), TypeError,
     "log_softmax: mask is a list; expected an array of booleans"),
    (lambda: softmax.bwd(X, X[0]), ValueError, "softmax: dp has shape (5,); expected (7, 5)"),
    (lambda: squared_error.fwd(X, X[:, :1]), ValueError,
     "squared_error: t has shape (7, 1); expected (7, 5), the shape of y"),
    (lambda: squared_error.fwd(X, X.astype(jnp.float32)), TypeError,
     "squared_error: t has dtype float32; expected float64"),
    (lambda: squared_error.bwd(X, jnp.ones(())), ValueError,
     "squared_error: dloss has shape (); expected (7,), one value per example"),
    (lambda: huber.fwd(X, X, delta=0.0), ValueError,
     "huber: delta was 0.0; expected a positive number"),
    (lambda: huber.fwd(X, X, delta=A_TEXT), ValueError,
     "huber: delta was '0.1'; expected a positive number"),
    (lambda: ce.fwd(X[:, :0], LABELS), ValueError,
     "softmax_cross_entropy: logits has shape (7, 0); expected at least one class"),
    (lambda: ce.fwd(X, A_LIST), TypeError,
     "softmax_cross_entropy: targets is a list; expected an array of integer labels or of distributions"),
    (lambda: bce.fwd(X, A_LIST), TypeError,
     "sigmoid_cross_entropy: targets is a list; expected an array of yes/no targets"),
    *[
        (lambda v=value: ce.fwd(X, LABELS, ignore_label=v), ValueError,
         f"softmax_cross_entropy: ignore_label was {value!r}; expected None or an integer from -2^31 to")
        for value in (A_TEXT, 2.5, 2**31, TRUE)
    ],
    *[
        (lambda v=value: ce.fwd(X, LABELS, label_smoothing=v), ValueError,
         f"softmax_cross_entropy: label_smoothing was {value!r}; expected a number from 0 to 1")
        for value in (NOTHING, A_TEXT, float("nan"))
    ],
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
    (lambda: recurrent.init(jax.random.key(0), 5, [2]), ValueError,
     "recurrent.init: widths was [2]; expected the width of a character and of a layer or more"),
    (lambda: recurrent.init(jax.random.key(0), 0, [2, 3]), ValueError,
     "recurrent.init: vocabulary was 0; expected a positive integer"),
    (lambda: recurrent.init(jax.random.key(0), 2.5, [2, 3]), ValueError,  # pyright: ignore[reportArgumentType]
     "recurrent.init: vocabulary was 2.5; expected a positive integer"),
    (lambda: recurrent.init(jax.random.key(0), 5, NOTHING), ValueError,
     "recurrent.init: widths was None; expected the width of a character and of a layer or more"),
    (lambda: recurrent.zero_state(-1, [2, 3]), ValueError,
     "recurrent.zero_state: batch was -1; expected an integer of at least 0"),
    (lambda: recurrent.zero_state(2, [3, 0]), ValueError,
     "recurrent.zero_state: widths was [3, 0]; expected the width of a character and of a layer or more"),
    (lambda: recurrent.value_and_grad(TEXT_NET, EMPTY, NOTHING), TypeError,
     "recurrent: batch is a NoneType; expected (ids, next)"),
    (lambda: convnet.value_and_grad(IMAGE_NET, UNSEEN, IMAGES), TypeError,  # pyright: ignore[reportArgumentType]
     "convnet: batch is a ArrayImpl; expected (x, labels)"),
    (lambda: gpt.value_and_grad(DECODER, (IDS,), heads=6), TypeError,
     "gpt: batch is a tuple of 1; expected (ids, targets)"),
    (lambda: mlp.value_and_grad(NET, NOTHING), TypeError, "mlp: batch is a NoneType; expected (x, targets)"),
    *(
        (lambda w=window: convnet.init(jax.random.key(0), (5, 4, 2), ((3,),), (3,), window=w), ValueError,
         f"convnet.init: window was {window!r}; expected its height and width")
        for window in BAD_WINDOWS
    ),
    *(
        (lambda given={name: value}: convnet.init(
            jax.random.key(0), **({"image": (5, 4, 2), "blocks": ((3,),), "widths": (3,)} | given)
        ), ValueError, f"convnet.init: {name} was {value!r}; expected")
        for name in ("image", "blocks", "widths") for value in (NOTHING, FIVE)
    ),
    (lambda: convnet.value_and_grad(IMAGE_NET, UNSEEN, (IMAGES, LABELS), momentum=1.5), ValueError,
     "convnet: momentum was 1.5; expected a number in 0..1"),
    *(
        (lambda op=op, p=p, b=b: op.fwd(p._replace(**{p._fields[-1]: b}), STEPS, STATES[op]), ValueError,
         f"params.{p._fields[-1]} has shape {b.shape}; expected {p[-1].shape}")
        for op, p in CELLS.items() for b in (p[-1][None], p[-1][0])
    ),
    *(
        (lambda op=op, p=p, name=name: op.fwd(p._replace(**{name: None}), STEPS, STATES[op]), TypeError,
         f"params.{name} is a NoneType; expected a floating point array")
        for op, p in CELLS.items() for name in ("w_x", "w_h")
    ),
    *(
        (lambda op=op, p=p: op.bwd(p, op.fwd(p, STEPS, STATES[op])[1], STEPS), TypeError,
         f"{op.__name__.rpartition('.')[2]}: d_output is a ArrayImpl; expected (dys, d_final)")
        for op, p in CELLS.items()
    ),
    (lambda: rnn.fwd(RNN, STEPS, HIDDEN, reverse=A_TEXT), ValueError,
     "rnn: reverse was '0.1'; expected True or False"),
    (lambda: gru.fwd(GRU, STEPS, HIDDEN, reset_after=A_TEXT), ValueError,
     "gru: reset_after was '0.1'; expected True or False"),
    (lambda: rms_norm.fwd(rms_norm.Params(jnp.ones(5)), X, unit_offset=A_TEXT), ValueError,
     "rms_norm: unit_offset was '0.1'; expected True or False"),
    (lambda: pool.average.fwd(IMAGE, window=2, count_include_pad=A_TEXT), ValueError,
     "pool.average: count_include_pad was '0.1'; expected True or False"),
    (lambda: batch_norm.bwd(CHANNELS, batch_norm.fwd(CHANNELS, IMAGE)[1], IMAGE), TypeError,  # pyright: ignore[reportArgumentType]
     "batch_norm: d_output is a ArrayImpl; expected (dy, d_statistics)"),
    (lambda: batch_norm.bwd(CHANNELS, batch_norm.fwd(CHANNELS, IMAGE)[1], (IMAGE, NOTHING)), TypeError,
     "batch_norm: d_statistics is a NoneType; expected (mean, var)"),
    (lambda: batch_norm.running(STATISTICS, batch_norm.Statistics(jnp.ones(1), jnp.ones(1))), ValueError,
     "batch_norm.running: new.mean has shape (1,); expected (4,), the shape of old.mean"),
    (lambda: batch_norm.running(NOTHING, STATISTICS), TypeError,
     "batch_norm.running: old is a NoneType; expected batch_norm.Statistics(mean, var)"),
    (lambda: dropout.bwd(KEY, X, rate=1.5), ValueError, "dropout: rate was 1.5; expected a number in 0..1"),
    (lambda: conv.fwd(KERNEL._replace(b=A_LIST), IMAGE, groups=2), TypeError,
     "conv: params.b is a list; expected a floating point array"),
    (lambda: conv.bwd(KERNEL, IMAGE, A_LIST, groups=2), TypeError,
     "conv: dy is a list; expected a floating point array"),
    (lambda: recurrent.init(jax.random.key(0), 5, [2, 3], cell="lsmt"), ValueError,
     "recurrent.init: cell was 'lsmt'; did you mean 'lstm'? Known: gru, lstm, rnn"),
    (lambda: recurrent.fwd(A_TUPLE, EMPTY, IDS), TypeError,
     "recurrent: params is a tuple; expected recurrent.Params(embedding, layers, head)"),
    (lambda: recurrent.fwd(TEXT_NET._replace(layers=()), (), IDS), ValueError,
     "recurrent: params.layers was (); expected a layer or more"),
    (lambda: recurrent.fwd(TEXT_NET, A_LIST, IDS), ValueError,
     "recurrent: state is a list; expected a tuple of 1, one a layer"),
    (lambda: recurrent.fwd(TEXT_NET, (*EMPTY, *EMPTY), IDS), ValueError,
     "recurrent: state is a tuple of 2; expected a tuple of 1, one a layer"),
    (lambda: recurrent.fwd(TEXT_NET, (EMPTY[0].h,), IDS), TypeError,
     "lstm: state is a ArrayImpl; expected lstm.State(h, c)"),
    (lambda: recurrent.fwd(TEXT_NET, EMPTY, IDS, cell="gru"), TypeError,
     "gru: params is a Params; expected gru.Params(w_x, w_h, b_x, b_h)"),
    (lambda: recurrent.fwd(TEXT_NET, EMPTY, IDS[0]), ValueError,
     "recurrent: ids has shape (4,); expected two axes (batch, time)"),
    (lambda: recurrent.fwd(TEXT_NET, EMPTY, IDS[:5]), ValueError,
     "lstm: state.h has shape (7, 3); expected (5, 3), (batch, features)"),
    (lambda: recurrent.fwd(TEXT_NET, EMPTY, IDS.astype(float)), TypeError,
     "embedding: ids has dtype float64; expected an integer dtype"),
    (lambda: recurrent.value_and_grad(TEXT_NET, EMPTY, (IDS[:, :0], IDS[:, :0])), ValueError,
     "recurrent: batch was (7, 0); expected a character or more"),
    (lambda: recurrent.value_and_grad(TEXT_NET, EMPTY, (IDS, IDS[:, 1:])), ValueError,
     "softmax_cross_entropy: targets has shape (7, 3); expected (7, 4), one label per example"),
    (lambda: convnet.init(jax.random.key(0), (5, 4), ((3,),), (3,)), ValueError,
     "convnet.init: image was (5, 4); expected its height, width and channels"),
    (lambda: convnet.init(jax.random.key(0), (5, 3, 2), ((3,), (3,)), (3,)), ValueError,
     "convnet.init: image was (5, 3, 2); expected a height and width of at least 4, as each of 2 blocks"),
    (lambda: convnet.init(jax.random.key(0), (5, 4, 2), ((),), (3,)), ValueError,
     "convnet.init: blocks was ((),); expected the channels of each block's convolutions"),
    (lambda: convnet.init(jax.random.key(0), (5, 4, 2), A_LIST, (3,)), ValueError,
     "convnet.init: blocks was [1.0, 1.0, 1.0, 1.0, 1.0]; expected the channels of each block's"),
    (lambda: convnet.init(jax.random.key(0), (5, 4, 2), ((3,),), ()), ValueError,
     "convnet.init: widths was (); expected those of the dense layers, the outputs last"),
    (lambda: convnet.init(jax.random.key(0), (5, 4, 2), ((3,),), (3,), norm="batchnorm"), ValueError,
     "convnet.init: norm was 'batchnorm'; did you mean 'batch_norm'? Known: batch_norm, frozen_batch_norm"),
    (lambda: convnet.init_state(IMAGE_NET, norm="batch"), ValueError, "convnet.init_state: norm was 'batch'"),
    (lambda: convnet.fwd(A_TUPLE, UNSEEN, IMAGES), TypeError,
     "convnet: params is a tuple; expected convnet.Params(blocks, head)"),
    (lambda: convnet.fwd(IMAGE_NET._replace(blocks=()), UNSEEN, IMAGES), ValueError,
     "convnet: params.blocks was (); expected a block or more"),
    (lambda: convnet.fwd(IMAGE_NET._replace(head=A_TUPLE), UNSEEN, IMAGES), TypeError,
     "mlp: params.head is a tuple; expected mlp.Params(layers)"),
    (lambda: convnet.fwd(IMAGE_NET, (), IMAGES), ValueError,
     "convnet: state has the structure PyTreeDef(()); expected a tuple for each block of statistics"),
    (lambda: convnet.fwd(IMAGE_NET, ((None,),), IMAGES), TypeError,
     "convnet: state[0][0] is a NoneType; expected Statistics, as norm is 'batch_norm'"),
    (lambda: convnet.fwd(IMAGE_NET, UNSEEN, IMAGES, norm="none"), TypeError,
     "convnet: state[0][0] is a Statistics; expected NoneType, as norm is 'none'"),
    (lambda: convnet.fwd(IMAGE_NET, UNSEEN, IMAGES, norm="frozen"), ValueError,
     "convnet: norm was 'frozen'; did you mean 'frozen_batch_norm'?"),
    (lambda: convnet.fwd(IMAGE_NET, UNSEEN, IMAGES, activation="rleu"), ValueError,
     "convnet: activation was 'rleu'; did you mean 'relu'?"),
    (lambda: convnet.fwd(IMAGE_NET, UNSEEN, IMAGES, momentum=2.0), ValueError,
     "convnet: momentum was 2.0; expected a number in 0..1"),
    (lambda: convnet.fwd(IMAGE_NET, UNSEEN, IMAGES[0, 0]), ValueError,
     "convnet: x has shape (4, 2); expected height, width and channels behind *B"),
    (lambda: convnet.fwd(IMAGE_NET, UNSEEN, IMAGES.astype(int)), TypeError,
     "convnet: x has dtype int64; expected a floating point dtype"),
    (lambda: convnet.fwd(IMAGE_NET, UNSEEN, jnp.ones((7, 6, 8, 2))), ValueError,
     "convnet: x has shape (7, 6, 8, 2), of which the blocks leave 3 x 4 places of 3 channels; expected 12"),
    (lambda: convnet.fwd(IMAGE_NET, UNSEEN, IMAGES[..., :1]), ValueError,
     "conv: x has shape (7, 5, 4, 1); expected 2 features in its last axis"),
    (lambda: convnet.value_and_grad(IMAGE_NET, UNSEEN, (IMAGES[:0], LABELS[:0])), ValueError,
     "convnet: batch was (0, 5, 4, 2); expected at least one image"),
    (lambda: convnet.value_and_grad(IMAGE_NET, UNSEEN, (IMAGES, LABELS[:6])), ValueError,
     "softmax_cross_entropy: targets has shape (6,); expected (7,), one label per example"),
    (lambda: mlp.init(jax.random.key(0), [5]), ValueError,
     "mlp.init: widths was [5]; expected at least two widths"),
    (lambda: mlp.fwd(NET, X, activation="rleu"), ValueError,
     "mlp: activation was 'rleu'; did you mean 'relu'? Known: elu, gelu"),
    (lambda: mlp.value_and_grad(NET, (X, LABELS), loss="cross_entropy"), ValueError,
     "mlp: loss was 'cross_entropy'; did you mean 'softmax_cross_entropy'?"),
    (lambda: mlp.value_and_grad(NET, (X[:0], LABELS[:0])), ValueError,
     "mlp: batch was (0, 5); expected at least one example"),
    (lambda: layer_norm.fwd(NORM, X[:, :4]), ValueError,
     "layer_norm: params.g has shape (5,); expected (4,), as x has shape (7, 4)"),
    (lambda: layer_norm.fwd(NORM._replace(b=jnp.ones(4)), X), ValueError,
     "layer_norm: params.b has shape (4,); expected (5,), the shape of params.g"),
    (lambda: layer_norm.fwd(NORM, X.astype(jnp.float32), eps=-1e-5), ValueError,
     "layer_norm: eps was -1e-05; expected a number of at least 0"),
    (lambda: layer_norm.fwd(jax.tree.map(lambda p: p.astype(jnp.float32), NORM), X), TypeError,
     "layer_norm: x has dtype float64; expected float32, that of params.g, or a narrower one"),
    (lambda: layer_norm.bwd(NORM, layer_norm.fwd(NORM, X)[1], X[:1]), ValueError,
     "layer_norm: dy has shape (1, 5); expected (7, 5), the shape of the output it belongs to"),
    (lambda: conv.fwd(KERNEL, IMAGE[..., :3], groups=2), ValueError,
     "conv: x has shape (2, 5, 4, 3); expected 4 features in its last axis, as params.w has shape"),
    (lambda: conv.fwd(KERNEL, IMAGE, groups=0), ValueError,
     "conv: groups was 0; expected a positive integer"),
    (lambda: conv.fwd(conv.Params(jnp.ones((3, 3, 1, 6)), None), IMAGE, groups=4), ValueError,
     "conv: groups was 4; expected a divisor of the 6 features out"),
    (lambda: conv.fwd(KERNEL._replace(w=KERNEL.w[0, 0]), IMAGE), ValueError,
     "conv: params.w has shape (2, 6); expected one, two or three spatial axes, features in / groups"),
    (lambda: conv.fwd(KERNEL._replace(b=jnp.ones(5)), IMAGE, groups=2), ValueError,
     "conv: params.b has shape (5,); expected (6,), as params.w has shape (3, 3, 2, 6)"),
    (lambda: conv.fwd(KERNEL, IMAGE[0, 0], groups=2), ValueError,
     "conv: x has shape (4, 4); expected 2 spatial axes and features"),
    (lambda: conv.fwd(KERNEL, IMAGE, groups=2, dilation=2, padding="VALID"), ValueError,
     "conv: the window reaches over 5 entries of spatial axis 1; expected at most 4, its length"),
    *[
        (lambda v=value: conv.fwd(KERNEL, IMAGE, groups=2, strides=v), ValueError,
         f"conv: strides was {value!r}; expected a positive integer, or 2 of them")
        for value in BAD_STRIDES
    ],
    (lambda: conv.fwd(KERNEL, IMAGE, groups=2, dilation=(2, 0)), ValueError,
     "conv: dilation was (2, 0); expected a positive integer, or 2 of them"),
    *[
        (lambda v=value: conv.fwd(KERNEL, IMAGE, groups=2, padding=v), ValueError,
         f"conv: padding was {value!r}; expected 'SAME', 'VALID' or 2 pairs (lo, hi)")
        for value in BAD_PADDING
    ],
    (lambda: conv.bwd(KERNEL, IMAGE, IMAGE, groups=2), ValueError,
     "conv: dy has shape (2, 5, 4, 4); expected (2, 5, 4, 6), the shape of the output"),
    (lambda: conv.init(KEY, (3, 0), 4, 6), ValueError,
     "conv.init: window was (3, 0); expected one, two or three positive integers"),
    (lambda: conv.init(KEY, (3,), 4, 6, groups=4), ValueError,
     "conv.init: out_features was 6; expected a multiple of groups=4"),
    *[
        row
        for name, pair in (("max", pool.max), ("average", pool.average))
        for row in (
            (lambda p=pair: p.fwd(IMAGE, window=0), ValueError,
             f"pool.{name}: window was 0; expected a positive integer, or 2 of them"),
            (lambda p=pair: p.fwd(IMAGE, window=5), ValueError,
             f"pool.{name}: the window reaches over 5 entries of spatial axis 1; expected at most 4"),
            (lambda p=pair: p.fwd(IMAGE, window=2, strides=(1, -1)), ValueError,
             f"pool.{name}: strides was (1, -1); expected a positive integer, or 2 of them"),
            (lambda p=pair: p.fwd(IMAGE, window=2, padding="FULL"), ValueError,
             f"pool.{name}: padding was 'FULL'; expected 'SAME', 'VALID' or 2 pairs"),
            (lambda p=pair: p.fwd(X, window=2), ValueError,
             f"pool.{name}: x has shape (7, 5); expected a batch, spatial axes and channels"),
            (lambda p=pair: p.fwd(X, window=(2, 2)), ValueError,
             f"pool.{name}: x has shape (7, 5); expected 2 spatial axes and channels"),
            (lambda p=pair: p.fwd(LABELS, window=2), TypeError,
             f"pool.{name}: x has dtype int64; expected a floating point dtype"),
            (lambda p=pair: p.bwd(p.fwd(IMAGE, window=2)[1], IMAGE, window=2), ValueError,
             f"pool.{name}: dy has shape (2, 5, 4, 4); expected (2, 2, 2, 4), the shape of the output"),
        )
    ],
    (lambda: group_norm.fwd(GROUPED, IMAGE, groups=3), ValueError,
     "group_norm: groups was 3; expected a divisor of the 4 channels"),
    (lambda: group_norm.fwd(GROUPED, IMAGE, groups=0), ValueError,
     "group_norm: groups was 0; expected a divisor of the 4 channels"),
    (lambda: group_norm.fwd(GROUPED, IMAGE[0, 0, 0], groups=2), ValueError,
     "group_norm: x has shape (4,); expected a batch axis and channels"),
    (lambda: group_norm.bwd(GROUPED, group_norm.fwd(GROUPED, IMAGE, groups=2)[1], IMAGE[0], groups=2),
     ValueError, "group_norm: dy has shape (5, 4, 4); expected (2, 5, 4, 4)"),
    (lambda: rms_norm.fwd(rms_norm.Params(jnp.ones(4)), X), ValueError,
     "rms_norm: params.g has shape (4,); expected (5,), as x has shape (7, 5)"),
    (lambda: rms_norm.fwd(rms_norm.Params(jnp.ones(5)), X, eps=float("inf")), ValueError,
     "rms_norm: eps was inf; expected a number of at least 0"),
    (lambda: batch_norm.fwd(CHANNELS._replace(b=jnp.ones(3)), IMAGE), ValueError,
     "batch_norm: params.b has shape (3,); expected (4,), the shape of params.g"),
    (lambda: batch_norm.bwd(CHANNELS, batch_norm.fwd(CHANNELS, IMAGE)[1],
                            (IMAGE, STATISTICS._replace(var=jnp.ones(3)))), ValueError,
     "batch_norm: d_statistics.var has shape (3,); expected (4,), the shape of the output it belongs to"),
    (lambda: batch_norm.running(STATISTICS, STATISTICS, momentum=1.1), ValueError,
     "batch_norm.running: momentum was 1.1; expected a number in 0..1"),
    (lambda: frozen_batch_norm.fwd(CHANNELS, IMAGE, A_TUPLE), TypeError,
     "frozen_batch_norm: statistics is a tuple; expected batch_norm.Statistics(mean, var)"),
    (lambda: frozen_batch_norm.fwd(CHANNELS, IMAGE, STATISTICS._replace(mean=jnp.ones(3))), ValueError,
     "frozen_batch_norm: statistics.mean has shape (3,); expected (4,), one for each channel"),
    *[
        (lambda v=value: dropout.fwd(X, KEY, rate=v), ValueError,
         f"dropout: rate was {value!r}; expected a number in 0..1")
        for value in (-0.1, 1.5, float("nan"), A_TEXT, NOTHING)
    ],
    (lambda: dropout.fwd(LABELS, KEY, rate=0.5), TypeError,
     "dropout: x has dtype int64; expected a floating point dtype"),
    (lambda: dropout.fwd(X, jnp.ones(2), rate=0.5), ValueError, "expected one key of jax.random.key"),
    (lambda: embedding.fwd(TABLE, X), TypeError,
     "embedding: ids has dtype float64; expected an integer dtype"),
    (lambda: embedding.fwd(TABLE, A_LIST), TypeError,
     "embedding: ids is a list; expected an array of integers"),
    (lambda: embedding.fwd(embedding.Params(jnp.ones(6)), LABELS), ValueError,
     "embedding: params.table has shape (6,); expected two axes (V, D)"),
    (lambda: embedding.bwd(TABLE, LABELS, X), ValueError, "embedding: dy has shape (7, 5); expected (7, 3)"),
    *[
        row
        for op, params, state in ((rnn, RNN, HIDDEN), (lstm, LSTM, STATE), (gru, GRU, HIDDEN))
        for name in (op.__name__.rpartition(".")[2],)
        for row in (
            (lambda o=op, p=params, s=state: o.fwd(p, STEPS[..., :4], s), ValueError,
             f"{name}: params.w_x has shape {params.w_x.shape}; expected {(4, params.w_x.shape[1])}, as x"),
            (lambda o=op, p=params, s=state: o.fwd(p, STEPS[0], s), ValueError,
             f"{name}: x has shape (4, 5); expected three axes (batch, time, features)"),
            (lambda o=op, p=params, s=state: o.fwd(p._replace(w_h=p.w_x), STEPS, s), ValueError,
             f"{name}: params.w_h has shape {params.w_x.shape}; expected (features, "),
            (lambda o=op, p=params, s=state: o.fwd(p, STEPS, s, LABELS[:6]), ValueError,
             f"{name}: lengths has shape (6,); expected (7,), one for each example"),
            (lambda o=op, p=params, s=state: o.fwd(p, STEPS, s, X[:, 0]), TypeError,
             f"{name}: lengths has dtype float64; expected an integer dtype"),
            (lambda o=op, p=params, s=state: o.fwd(p, STEPS, s, A_LIST), TypeError,
             f"{name}: lengths is a list; expected an array of integers"),
            (lambda o=op, p=params, s=state: o.fwd(p, STEPS, jax.tree.map(lambda a: a[:6], s)), ValueError,
             f"{name}: state{'.h' if op is lstm else ''} has shape (6, 2); expected (7, 2), (batch,"),
            (lambda o=op, p=params, s=state: o.bwd(p, o.fwd(p, STEPS, s)[1], (STEPS, s)), ValueError,
             f"{name}: dys has shape (7, 4, 5); expected (7, 4, 2), the shape of the output"),
        )
    ],
    (lambda: lstm.fwd(LSTM, STEPS, A_TUPLE), TypeError, "lstm: state is a tuple; expected lstm.State(h, c)"),
    (lambda: rnn.fwd(RNN, STEPS, HIDDEN, activation="thanh"), ValueError,
     "rnn: activation was 'thanh'; did you mean 'tanh'? Known: relu, tanh"),
    (lambda: gpt.init(jax.random.key(0), 5, layers=0, width=12, heads=6), ValueError,
     "gpt.init: layers was 0; expected a positive integer"),
    (lambda: gpt.init(jax.random.key(0), 5, layers=1, width=12, heads=5), ValueError,
     "gpt.init: heads was 5; expected a number that divides the width 12"),
    (lambda: gpt.init(jax.random.key(0), 5, layers=1, width=12, heads=6, key_heads=4), ValueError,
     "gpt.init: key_heads was 4; expected a number that divides the 6 heads"),
    (lambda: gpt.init(jax.random.key(0), 5, layers=1, width=12, heads=6, norm="rmsnorm"), ValueError,
     "gpt.init: norm was 'rmsnorm'; did you mean 'rms_norm'? Known: layer_norm, rms_norm"),
    (lambda: gpt.fwd(A_TUPLE, IDS, heads=6), TypeError,
     "gpt: params is a tuple; expected gpt.Params(embedding, positions, blocks, norm, head)"),
    (lambda: gpt.fwd(DECODER._replace(blocks=DECODER.blocks._replace(mlp=W)), IDS, heads=6), TypeError,
     "gpt: params.blocks.mlp is a Params; expected gpt.MLP or gated_mlp.Params"),
    (lambda: gpt.fwd(DECODER, IDS.astype(float), heads=6), TypeError,
     "gpt: ids has dtype float64; expected an integer dtype"),
    (lambda: gpt.fwd(DECODER, IDS[0], heads=6), ValueError,
     "gpt: ids has shape (4,); expected two axes (batch, time)"),
    (lambda: gpt.fwd(DECODER, jnp.zeros((7, 5), int), heads=6), ValueError,
     "gpt: ids has shape (7, 5); expected at most 4 tokens, as many as params.positions has"),
    (lambda: gpt.fwd(DECODER, IDS, heads=5), ValueError,
     "gpt: heads was 5; expected a number that divides 12, the width of params.blocks.q.w"),
    (lambda: gpt.fwd(_with_keys(8), IDS, heads=6), ValueError,
     "gpt: params.blocks.k.w has 8 features; expected 2 for each of some heads whose number divides the 6"),
    (lambda: gpt.fwd(DECODER, IDS, heads=6, activation="gelu_tang"), ValueError,
     "gpt: activation was 'gelu_tang'; did you mean 'gelu_tanh'? Known: elu, "),
    (lambda: gpt.fwd(DECODER, IDS, heads=6, keep="matmul"), ValueError,
     "gpt: keep was 'matmul'; did you mean 'matmuls'? Known: all, inputs, matmuls"),
    (lambda: gpt.fwd(DECODER, IDS, heads=6, dropout=1.5), ValueError,
     "gpt: dropout was 1.5; expected a number in 0..1"),
    (lambda: gpt.fwd(DECODER, IDS, heads=6, dropout=0.5), ValueError,
     "gpt: key was None; expected one key of jax.random.key, as dropout is 0.5"),
    (lambda: gpt.value_and_grad(DECODER, (IDS, IDS, jax.random.PRNGKey(0)), heads=6, dropout=0.5), ValueError,
     "expected one key of jax.random.key, as dropout is 0.5"),
    (lambda: gpt.bwd(DECODER, gpt.fwd(DECODER, IDS, heads=6)[1], jnp.ones((7, 4, 5)), heads=6, dropout=0.5),
     ValueError, "gpt: res was None; expected residuals of fwd with the same dropout, which have its key"),
    (lambda: gpt.init(KEY, 5, layers=1, width=9, heads=3), ValueError,
     "gpt.init: heads was 3; expected a number that leaves each head of 9 features an even number"),
    (lambda: generation.sample(DECODER, KEY, IDS[0], 2, capacity=4, heads=6), ValueError,
     "generation: prompt has shape (4,); expected two axes (batch, time)"),
    (lambda: attention.fwd(Q, K.astype("f4"), K), TypeError,
     "attention: k has dtype float32; expected float64"),
    *(
        (lambda scaling=scaling: rope.fwd(Q[..., :2], scaling=scaling), ValueError, f"rope: scaling.{said}")
        for scaling, said in (
            (rope.Scaling(0.0), "factor was 0.0; expected a positive number"),
            (rope.Scaling(2.0, 0), "context was 0; expected a positive integer, or None"),
            (rope.Scaling(2.0, 5, -1.0), "low was -1.0; expected a number of at least 0"),
            (rope.Scaling(2.0, 5, 4.0, 4.0), "high was 4.0; expected a number above low=4.0"),
        )
    ),
    (lambda: rope.fwd(Q[..., :2], scaling=FIVE), TypeError,
     "rope: scaling is a int; expected rope.Scaling(factor, context, low, high)"),
    (lambda: gpt.fwd(DECODER, IDS, heads=6, dtype="int32"), ValueError,
     "gpt: dtype was 'int32'; expected a floating point dtype"),
    (lambda: gpt.value_and_grad(DECODER, (IDS[:, :0], IDS[:, :0]), heads=6), ValueError,
     "gpt: batch was (7, 0); expected a token or more"),
    (lambda: gpt.value_and_grad(DECODER, (IDS, IDS[:, 1:]), heads=6), ValueError,
     "linear_cross_entropy: targets has shape (7, 3); expected (7, 4), one label per token"),
    *[
        row
        for op, name in ((reversible, "reversible"), (reversible_stack, "reversible_stack"))
        for row in (
            (lambda o=op: o.fwd((None, None), X, X, f=A_FUNCTION, g=activations.tanh), ValueError,
             f"{name}: f was {A_FUNCTION!r}; expected a pair with fwd and bwd"),
            (lambda o=op: o.fwd((None,), X, X, **TANH), ValueError,
             f"{name}: params was 'tuple'; expected a tuple of those of f and those of g"),
            (lambda o=op: o.fwd((None, None), X, X.astype(jnp.float32), **TANH), TypeError,
             f"{name}: x2 has dtype float32; expected float64"),
        )
    ],
    (lambda: reversible.bwd((None, None), reversible.fwd((None, None), X, X, **TANH)[1], (X, X[0]), **TANH),
     ValueError, "reversible: dy2 has shape (5,); expected (7, 5)"),
    (lambda: reversible.fwd((None, None), X, X[:1], **TANH), ValueError,
     "reversible: f(x2) has shape (1, 5); expected (7, 5), the shape of x1"),
    (lambda: reversible.fwd((None, W), X, X, f=activations.tanh, g=dense), ValueError,
     "reversible: g(y1) has shape (7, 3); expected (7, 5), the shape of x2"),
    (lambda: reversible_stack.fwd((None, None), X, X, **TANH), ValueError,
     "reversible_stack: shapes of params was []; expected arrays of f or of g with one leading axis"),
    (lambda: reversible_stack.fwd((None, W), X, X, f=activations.tanh, g=dense), ValueError,
     "reversible_stack: shapes of params was [(5, 3), (3,)]; expected arrays of f or of g with one leading"),
    *[
        row
        for op, name in ((attention, "attention"), (plain_attention, "plain_attention"))
        for row in (
            (lambda o=op: o.fwd(Q[0], K, K), ValueError,
             f"{name}: q has shape (5, 4, 3); expected four axes (batch, time, heads, head_dim)"),
            (lambda o=op: o.fwd(Q[:, :, :3], K, K), ValueError,
             f"{name}: k has 2 heads; expected a number that divides the 3 heads of q"),
            (lambda o=op: o.fwd(Q, K, K, None, jnp.ones((6, 5), bool)), ValueError,
             f"{name}: mask has shape (6, 5); expected one that broadcasts to (2, 4, 5, 6)"),
            (lambda o=op: o.fwd(Q, K, K, segments=(QUERIES, KEYS[0])), ValueError,
             f"{name}: segments[1] has shape (6,); expected (2, 6), (batch, time)"),
            *[
                (lambda o=op, w=window: o.fwd(Q, K, K, window=w), ValueError,
                 f"{name}: window was {window!r}; expected None or an integer from 1 to 2^31 - 1")
                for window in (0, 1.5, TRUE, 2**31)
            ],
            (lambda o=op: o.bwd(jax.eval_shape(o.fwd, Q, K, K)[1], Q[:1]), ValueError,
             f"{name}: do has shape (1, 5, 4, 3); expected (2, 5, 4, 3), the shape of the output"),
            (lambda o=op: o.bwd(jax.eval_shape(o.fwd, Q, K, K)[1], Q.astype(jnp.float32)), TypeError,
             f"{name}: do has dtype float32; expected float64"),
        )
    ],
    (lambda: attention.fwd(Q[..., :0], K[..., :0], K[..., :0]), ValueError,
     "attention: q has shape (2, 5, 4, 0); expected a head_dim of at least 1"),
    (lambda: attention.fwd(QUERIES, K, K), TypeError,
     "attention: q has dtype int64; expected a floating point dtype"),
    (lambda: attention.fwd(Q, K[:1], K[:1]), ValueError,
     "attention: k has shape (1, 6, 2, 3); expected (2, keys, heads, 3), as q has shape (2, 5, 4, 3)"),
    (lambda: attention.fwd(Q, K[..., :2], K), ValueError,
     "attention: k has shape (2, 6, 2, 2); expected (2, keys, heads, 3), as q has shape"),
    (lambda: attention.fwd(Q, K[:, :, :0], K[:, :, :0]), ValueError,
     "attention: k has 0 heads; expected a number that divides the 4 heads of q"),
    (lambda: attention.fwd(Q, K, K[:, :5]), ValueError,
     "attention: v has shape (2, 5, 2, 3); expected (2, 6, 2, 3), the shape of k"),
    (lambda: attention.fwd(Q, K.astype(jnp.float32), K.astype(jnp.float32)), TypeError,
     "attention: k has dtype float32; expected float64"),
    (lambda: attention.fwd(Q, K, K.astype(jnp.float32)), TypeError,
     "attention: v has dtype float32; expected float64"),
    *[
        (lambda b=bias: attention.fwd(Q, K, K, b), ValueError,
         f"attention: bias has shape {bias.shape}; expected one that broadcasts to (2, 4, 5, 6)")
        for bias in (jnp.ones((6, 5)), jnp.ones((2, 5, 6)), jnp.ones((1, 1, 1, 1, 6)), jnp.ones(0))
    ],
    (lambda: attention.fwd(Q, K, K, jnp.ones((5, 6), int)), TypeError,
     "attention: bias has dtype int64; expected a floating point dtype"),
    (lambda: attention.fwd(Q, K, K, jnp.ones((5, 6), jnp.float32)), TypeError,
     "attention: q has dtype float64; expected float32, that of bias, or a narrower one"),
    (lambda: attention.fwd(Q, K, K, None, jnp.ones((5, 6))), TypeError,
     "attention: mask has dtype float64; expected bool"),
    (lambda: attention.fwd(Q, K, K, None, TRUE), TypeError,
     "attention: mask is a bool; expected an array of booleans, True where it is allowed"),
    (lambda: attention.fwd(Q, K, K, segments=ONE_ALONE), TypeError,
     "attention: segments was a tuple; expected two arrays, of the queries (batch, queries) and of"),
    (lambda: attention.fwd(Q, K, K, segments=(KEYS, QUERIES)), ValueError,
     "attention: segments[0] has shape (2, 6); expected (2, 5), (batch, time)"),
    (lambda: attention.fwd(Q, K, K, segments=(QUERIES, KEYS.astype(float))), TypeError,
     "attention: segments[1] has dtype float64; expected an integer dtype"),
    (lambda: attention.fwd(Q, K, K, segments=ONE_AND_NONE), TypeError,
     "attention: segments[1] is a NoneType; expected an array of integers"),
    *[
        (lambda n=offset: attention.fwd(Q, K, K, query_offset=n), ValueError,
         f"attention: query_offset was {offset!r}; expected an integer between -2^31 and 2^31")
        for offset in (2**31, -(2**31), *INTEGERS)
    ],
    *[
        (lambda c=scale: attention.fwd(Q, K, K, scale=c), ValueError,
         f"attention: scale was {scale!r}; expected None or a finite number")
        for scale in NOT_FINITE
    ],
    *[
        (lambda c=cap: attention.fwd(Q, K, K, soft_cap=c), ValueError,
         f"attention: soft_cap was {cap!r}; expected None or a positive number")
        for cap in (0.0, -1.0, *NOT_FINITE)
    ],
    (lambda: attention.fwd(Q, K, K, causal=FIVE), ValueError,
     "attention: causal was 5; expected True or False"),
    *[
        (lambda b=block: attention.fwd(Q, K, K, block=b), ValueError,
         f"attention: block was {block!r}; expected None, a positive integer, or two: queries and keys")
        for block in BAD_BLOCKS
    ],
    *[
        (lambda x=x: rope.fwd(x), ValueError,
         f"rope: x has shape {x.shape}; expected four axes (batch, time, heads, head_dim), the last even")
        for x in (Q, Q[0])
    ],
    (lambda: rope.fwd(QUERIES), TypeError, "rope: x has dtype int64; expected a floating point dtype"),
    *[
        (lambda p=positions: rope.fwd(Q[..., :2], p), ValueError,
         f"rope: positions has shape {positions.shape}; expected (5,) or (2, 5), as x has shape (2, 5, 4, 2)")
        for positions in (KEYS, QUERIES[:1], QUERIES[0, :4], QUERIES[..., None])
    ],
    (lambda: rope.fwd(Q[..., :2], QUERIES.astype(float)), TypeError,
     "rope: positions has dtype float64; expected an integer dtype"),
    (lambda: rope.fwd(Q[..., :2], A_LIST), TypeError,
     "rope: positions is a list; expected an array of integers"),
    *[
        (lambda b=base: rope.fwd(Q[..., :2], base=b), ValueError,
         f"rope: base was {base!r}; expected a positive number")
        for base in (0, -1.0, *NOT_FINITE)
    ],
    (lambda: rope.fwd(Q[..., :2], interleaved=FIVE), ValueError,
     "rope: interleaved was 5; expected True or False"),
    (lambda: rope.bwd(QUERIES, Q), ValueError, "rope: dy has shape (2, 5, 4, 3); expected four axes"),
    (lambda: rope.bwd(QUERIES, Q[:, :4, :, :2]), ValueError,
     "rope: positions has shape (2, 5); expected (4,) or (2, 4), as dy has shape (2, 4, 4, 2)"),
    (lambda: gated_mlp.fwd(MLP, X, activation="swish"), ValueError,
     "gated_mlp: activation was 'swish'; known: elu, gelu"),
    (lambda: gated_mlp.fwd(MLP, X, activation="sliu"), ValueError,
     "gated_mlp: activation was 'sliu'; did you mean 'silu'?"),
    (lambda: gated_mlp.fwd(A_TUPLE, X), TypeError,
     "gated_mlp: params is a tuple; expected gated_mlp.Params(gate, up, down)"),
    (lambda: gated_mlp.fwd(MLP._replace(up=A_TUPLE), X), TypeError,
     "gated_mlp: params.up is a tuple; expected dense.Params(w, b)"),
    (lambda: gated_mlp.fwd(MLP._replace(up=dense.Params(jnp.ones((5, 3)), None)), X), ValueError,
     "gated_mlp: params.up.w has shape (5, 3); expected (5, 4), the shape of params.gate.w"),
    (lambda: gated_mlp.fwd(MLP._replace(gate=dense.Params(jnp.ones(4), None)), X), ValueError,
     "gated_mlp: params.gate.w has shape (4,); expected two axes (features in, features out)"),
    (lambda: gated_mlp.fwd(MLP._replace(gate=dense.Params(jnp.ones((5, 4)), jnp.ones(5))), X), ValueError,
     "gated_mlp: params.gate.b has shape (5,); expected (4,), as params.gate.w has shape (5, 4)"),
    (lambda: gated_mlp.fwd(MLP._replace(down=MLP.up), X), ValueError,
     "gated_mlp: params.down.w has shape (5, 4); expected (4, 4), as params.gate.w has shape (5, 4)"),
    (lambda: gated_mlp.fwd(MLP, X[:, :4]), ValueError,
     "gated_mlp: x has shape (7, 4); expected 5 features in its last axis, as params.gate.w has shape"),
    (lambda: gated_mlp.fwd(MLP._replace(down=dense.Params(jnp.ones((4, 5), jnp.float32), None)), X),
     TypeError,
     "gated_mlp: x has dtype float64; expected float32, that of params.down.w, or a narrower one"),
    (lambda: gated_mlp.fwd(MLP, LABELS), TypeError,
     "gated_mlp: x has dtype int64; expected a floating point dtype"),
    (lambda: gated_mlp.bwd(MLP, jax.eval_shape(gated_mlp.fwd, MLP, X)[1], X[:1]), ValueError,
     "gated_mlp: dy has shape (1, 5); expected (7, 5), the shape of the output"),
    *[
        (lambda w=width: gated_mlp.init(KEY, w, 4), ValueError,
         f"gated_mlp.init: in_features was {width!r}; expected a positive integer")
        for width in BAD_WIDTHS
    ],
    (lambda: gated_mlp.init(KEY, 5, 4, dtype=int), ValueError,
     "dense.init: dtype was <class 'int'>; expected a floating point dtype"),
    (lambda: lce.fwd(W, X, jnp.ones((7, 3))), TypeError,
     "linear_cross_entropy: targets has dtype float64; expected integer labels"),
    (lambda: lce.fwd(W, X, jnp.ones((7, 3), int)), ValueError,
     "linear_cross_entropy: targets has shape (7, 3); expected (7,), one label per token"),
    (lambda: lce.fwd(W, X, A_LIST), TypeError,
     "linear_cross_entropy: targets is a list; expected an array of integer labels"),
    (lambda: lce.fwd(W, X, LABELS, X), ValueError,
     "linear_cross_entropy: weights has shape (7, 5); expected (7,), one weight per token"),
    (lambda: lce.fwd(W, X, LABELS, LABELS), TypeError,
     "linear_cross_entropy: weights has dtype int64; expected a floating point dtype"),
    (lambda: lce.fwd(W, X[:, :4], LABELS), ValueError,
     "linear_cross_entropy: x has shape (7, 4); expected 5 features in its last axis, as params.w has shape"),
    (lambda: lce.fwd(W._replace(b=jnp.ones(4)), X, LABELS), ValueError,
     "linear_cross_entropy: params.b has shape (4,); expected (3,), as params.w has shape (5, 3)"),
    (lambda: lce.fwd(dense.Params(jnp.ones((5, 0)), None), X, LABELS), ValueError,
     "linear_cross_entropy: params.w has shape (5, 0); expected at least one class"),
    (lambda: lce.fwd(A_TUPLE, X, LABELS), TypeError,
     "linear_cross_entropy: params is a tuple; expected dense.Params(w, b)"),
    *[
        (lambda n=name, v=value: lce.fwd(W, X, LABELS, **{n: v}), ValueError,
         f"linear_cross_entropy: {name} was {value!r}; expected {expected}")
        for name, values, expected in OF_THE_LOSS
        for value in values
    ],
    (lambda: lce.bwd(W, jax.eval_shape(lce.fwd, W, X, LABELS)[1], X), ValueError,
     "linear_cross_entropy: dloss has shape (7, 5); expected (7,), one value per example"),
    (lambda: lce.bwd(W, jax.eval_shape(lce.fwd, W, X, LABELS)[1], jnp.ones(7, jnp.float32)), TypeError,
     "linear_cross_entropy: dloss has dtype float32; expected float64"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "kind", "message"), BAD, ids=[f"{i}: {row[2][:60]}" for i, row in enumerate(BAD)]
)
def test_message_names_the_argument_and_what_was_expected(call, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        call()
    with pytest.raises(kind, match=re.escape(message)):  # at trace time too, not when it runs
        jax.eval_shape(lambda: call())


def test_params_of_another_kind_are_refused_at_the_door():
    for wrong in ((jnp.ones((5, 3)), jnp.ones(3)), {"w": jnp.ones((5, 3)), "b": jnp.ones(3)}):
        with pytest.raises(TypeError, match=r"dense: params is a \w+; expected dense\.Params\(w, b\)"):
            jax.grad(lambda p: differentiable(dense)(p, X).sum())(wrong)
