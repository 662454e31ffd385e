r"""Recurrent language model.   Axes: B batch, T time, D features of a character, H those of a state,
V the vocabulary; k = 1..L numbers the layers.

    x_bt       = table_{id_bt},   h^0 = x                           (1)
    h^k, s^k'  = cell(h^(k-1), s^k)     over the T steps, from s^k on       (2)
    logits_btv = sum_h h^L_bth w_hv + b_v                           (3)
    cost       = (1/(B T)) sum_bt -log softmax(logits_bt)_{next_bt} (4)

    dlogits_bt  = (dcost/(B T)) (softmax(logits_bt) - [v = next_bt])        (5)
    dw, db, dh^L = the backward of (3) for dlogits                  (6)
    dlayer^k, dh^(k-1), ds^k = the backward of (2) for dh^k and ds^k'       (7)
    dtable      = the backward of (1) for dx = dh^0                 (8)

A text is read in windows of T characters. The state s' at the end of a window is the s of the next one, where
it is given and no function of the params: in `value_and_grad` ds' = 0, and ds is nobody's. So gradients go
back to the window's beginning and no further, which is truncated backpropagation through time.

The static option `cell` names the op of all layers: "lstm", "gru" or "rnn". Activations have the dtype of the
state, than which the params may be wider.

Mikolov et al. 2010, doi:10.21437/Interspeech.2010-343; Williams & Peng 1990, doi:10.1162/neco.1990.2.4.490;
Graves 2013, arXiv:1308.0850.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Integer, Key

from manual_bp import checks, losses
from manual_bp.ops import dense, embedding, gru, lstm, rnn
from manual_bp.taps import Tapper, plain

CELLS: dict[str, ModuleType] = {"gru": gru, "lstm": lstm, "rnn": rnn}
"""Ops over time by the names of `cell`."""

State = tuple[Any, ...]
"""The state of each layer, from input to output: `lstm.State`, or h (B, H) of the others."""


class Params(NamedTuple):
    """Those of the embedding, of each recurrent layer from input to output, and of the head."""

    embedding: embedding.Params
    layers: tuple[Any, ...]
    head: dense.Params


class Residuals(NamedTuple):
    """What each op saved."""

    embedding: Any
    layers: tuple[Any, ...]
    head: Any


def init(
    key: Key[Array, ""],
    vocabulary: int,
    widths: Sequence[int],
    *,
    cell: str = "lstm",
    initializer: str = "glorot",
    dtype: DTypeLike = jnp.float32,
) -> Params:
    """Random params: `widths` are the features of a character, then those of each layer's state.

    The rows of the table have variance 1, as the weights of a layer expect of what they are given: with the
    0.02 of `embedding.init` they would see next to nothing at first.
    """
    op = _op("recurrent.init", cell)
    _check_widths("recurrent.init", widths)
    checks.counts("recurrent.init", vocabulary=vocabulary)
    first, last, *keys = jax.random.split(key, len(widths) + 1)
    layers = [
        op.init(k, i, o, initializer=initializer, dtype=dtype)
        for k, (i, o) in zip(keys, pairwise(widths), strict=True)
    ]
    return Params(
        embedding.Params(jax.random.normal(first, (vocabulary, widths[0]), dtype)),
        tuple(layers),
        dense.init(last, widths[-1], vocabulary, initializer=initializer, dtype=dtype),
    )


def zero_state(
    batch: int, widths: Sequence[int], *, cell: str = "lstm", dtype: DTypeLike = jnp.float32
) -> State:
    """The state before the first character, for the `widths` of `init`."""
    _op("recurrent.zero_state", cell)
    _check_widths("recurrent.zero_state", widths)
    fits = checks.is_count(batch) or batch == 0
    checks.option("recurrent.zero_state", "batch", batch, fits, "an integer of at least 0")

    def zeros(width: int) -> Any:
        h = jnp.zeros((batch, width), dtype)
        return lstm.State(h, jnp.zeros_like(h)) if cell == "lstm" else h

    return tuple(zeros(width) for width in widths[1:])


def fwd(
    params: Params, state: State, ids: Integer[Array, "B T"], *, cell: str = "lstm"
) -> tuple[tuple[Float[Array, "B T V"], State], Residuals]:
    """The logits of the character after each of `ids`, with the state after the last, and the residuals."""
    op = _check(params, state, ids, cell)
    dtype = jax.tree.leaves(state)[0].dtype
    x, res_embedding = embedding.fwd(params.embedding, ids)  # (1)
    h = x.astype(dtype)
    after, res_layers = [], []
    for layer, before in zip(params.layers, state, strict=True):
        (h, final), saved = op.fwd(layer, h, before)  # (2)
        after.append(final)
        res_layers.append(saved)
    logits, res_head = dense.fwd(params.head, h)  # (3)
    return (logits, tuple(after)), Residuals(res_embedding, tuple(res_layers), res_head)


def bwd(
    params: Params,
    res: Residuals,
    d_output: tuple[Float[Array, "B T V"], State],
    *,
    cell: str = "lstm",
    tap: Tapper = plain,
) -> tuple[Params, State]:
    """The cotangents of the params and of the state; what another `tap` returns is in place of the ops'."""
    op = _op("recurrent", cell)
    dlogits, d_after = checks.together("recurrent", "d_output", d_output, "dlogits", "d_state")
    dhead, dh = tap(dense, params.head, res.head, dlogits)  # (6)
    dlayers, d_before = [], []
    for k in reversed(range(len(params.layers))):
        dlayer, dh, d_state = tap(op, params.layers[k], res.layers[k], (dh, d_after[k]))  # (7)
        dlayers.append(dlayer)
        d_before.append(d_state)
    dx = dh.astype(params.embedding.table.dtype)
    dembedding = tap(embedding, params.embedding, res.embedding, dx)  # (8)
    return Params(dembedding, tuple(reversed(dlayers)), dhead), tuple(reversed(d_before))


def value_and_grad(
    params: Params,
    state: State,
    batch: tuple[Integer[Array, "B T"], Integer[Array, "B T"]],
    *,
    cell: str = "lstm",
    dcost: Float[Array, ""] | float = 1.0,
) -> tuple[tuple[Float[Array, ""], State], Params]:
    """The mean cross-entropy over a window `(ids, next)` in nats with the state after it, and the gradient.

    `next` are the characters after those of `ids`; pass the state on with the window that begins there.
    `dcost` is the cotangent of the mean, 1 for the gradient: see `losses.mean`.
    """
    ids, following = checks.together("recurrent", "batch", batch, "ids", "next")
    checks.option("recurrent", "batch", jnp.shape(ids), math.prod(jnp.shape(ids)) > 0, "a character or more")
    (logits, after), res = fwd(params, state, ids, cell=cell)
    cost, dlogits = losses.mean("softmax_cross_entropy", logits, following, dcost)  # (4), (5)
    nothing = jax.tree.map(jnp.zeros_like, after)  # the next window's gradient does not come back
    dparams, _ = bwd(params, res, (dlogits, nothing), cell=cell)
    return (cost, after), dparams


def _op(name: str, cell: str) -> Any:
    checks.choice(name, "cell", cell, CELLS)
    return CELLS[cell]


def _check_widths(name: str, widths: Sequence[int]) -> None:
    fits = checks.are_counts(widths) and len(widths) >= 2
    checks.option(name, "widths", widths, fits, "the width of a character and of a layer or more")


def _check(params: Params, state: State, ids: Array, cell: str) -> Any:
    """The op of the layers; raise for what no op of the model would tell."""
    op = _op("recurrent", cell)
    checks.params("recurrent", params, Params)
    checks.option("recurrent", "params.layers", params.layers, len(params.layers) > 0, "a layer or more")
    if not isinstance(state, tuple) or len(state) != len(params.layers):
        found = f"a tuple of {len(state)}" if isinstance(state, tuple) else f"a {type(state).__name__}"
        raise ValueError(
            f"recurrent: state is {found}; expected a tuple of {len(params.layers)}, one a layer"
        )
    checks.array("recurrent", "integers", ids=ids)
    if ids.ndim != 2:
        raise ValueError(f"recurrent: ids has shape {ids.shape}; expected two axes (batch, time)")
    return op
