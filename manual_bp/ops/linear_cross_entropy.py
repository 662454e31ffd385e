r"""Cross-entropy of the softmax of an affine map, a chunk of tokens at a time, without N V logits at once.

Axes: B leading (N tokens in all), I features, V classes. C is the soft cap, l_n the loss of
`softmax_cross_entropy`, with its options, of the logits z:

    h_nv = sum_i x_ni w_iv + b_v                                    (1)
    z_nv = C tanh(h_nv / C),    or h_nv without a soft cap          (2)
    l_n  = softmax_cross_entropy(z_n, target_n, weight_n)           (3)

    dz_n  = dl_n g_n,    g_n that op's cotangent for dl_n = 1       (4)
    dh_nv = dz_nv (1 - (z_nv / C)^2)                                (5)
    dx_ni = sum_v dh_nv w_iv                                        (6)
    dw_iv = sum_n x_ni dh_nv,    db_v = sum_n dh_nv                 (7)

The logits of a chunk are at hand forward, and so (4) to (7) for dl = 1 are taken there: three products. What
belongs to a token, (6), is multiplied by its dl in the backward pass. So is (7) where all tokens have the
same dl, as after a mean or a sum, which is known when such a program is compiled; otherwise it takes two
products more, through the chunks once again. Give weights as such, not as factors of the losses.

Saved: the inputs, and (6) and (7) for dl = 1; with weights also dl/dweight.  Idea of forming the gradient
with the loss: Hsu et al. 2024, arXiv:2410.10989.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from manual_bp import checks
from manual_bp.ops import dense, softmax_cross_entropy
from manual_bp.ops.dense import Params, init
from manual_bp.precision import accumulator, times
from manual_bp.sharding import like, merge_axes, parts, split_axis, varying_as
from manual_bp.soft_cap import capped
from manual_bp.soft_cap import check as check_soft_cap
from manual_bp.uniform import one_number

__all__ = ["Params", "Residuals", "bwd", "fwd", "init", "of_sum"]

LOGITS = 2**22
"""Logits that are there at once, unless a call says of how many tokens."""

CHUNK = 256
"""Tokens of a chunk at least: of fewer, w is read and dw written more often than is worth it."""

ROWS = 128
"""Rows of dw whose share of a chunk is there at once, before it is added."""


class Gradient(NamedTuple):
    """Cotangents of the params, of x and of the weights."""

    params: Params
    x: Float[Array, "*B I"]
    weights: Float[Array, "*B"] | None


class Tokens(NamedTuple):
    """What a sweep goes through; without the losses' cotangent it is 1."""

    params: Params
    x: Float[Array, "*B I"]
    targets: Integer[Array, "*B"]
    weights: Float[Array, "*B"] | None
    dloss: Float[Array, "*B"] | None


Multiply = Callable[[Array, Array], Array]
"""A factor and what it multiplies."""


class Residuals(NamedTuple):
    """The inputs, and the gradient of the sum of the losses."""

    x: Float[Array, "*B I"]
    targets: Integer[Array, "*B"]
    weights: Float[Array, "*B"] | None
    gradient: Gradient


def fwd(
    params: Params,
    x: Float[Array, "*B I"],
    targets: Integer[Array, "*B"],
    weights: Float[Array, "*B"] | None = None,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    ignore_label: int | None = None,
    soft_cap: float | None = None,
    chunk: int | None = None,
) -> tuple[Float[Array, "*B"], Residuals]:
    """The loss of each token, of the labels `targets`; `chunk` is how many tokens' logits are there at once,
    None a choice by the number of classes.

    The other options are those of `softmax_cross_entropy`.
    """
    options = {"label_smoothing": label_smoothing, "z_loss": z_loss, "ignore_label": ignore_label}
    _check(params, x, targets, weights, soft_cap, chunk, options)
    loss, gradient = _sweep(Tokens(params, x, targets, weights, None), options, soft_cap, chunk)
    return loss, Residuals(x, targets, weights, gradient)


def bwd(
    params: Params,
    res: Residuals,
    dloss: Float[Array, "*B"],
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    ignore_label: int | None = None,
    soft_cap: float | None = None,
    chunk: int | None = None,
) -> tuple[Any, ...]:
    """The cotangents of the params, of `x` and of the weights where given."""
    x, targets, weights, gradient = res
    checks.per_example("linear_cross_entropy", "dloss", dloss, x)
    options = {"label_smoothing": label_smoothing, "z_loss": z_loss, "ignore_label": ignore_label}
    is_one, one = one_number(dloss)

    def multiplied() -> Params:
        return jax.tree.map(lambda d: times(one.astype(d.dtype), d), gradient.params)

    def of(multiply: Multiply, given: Tokens) -> Params:
        return _sweep(given, options, soft_cap, chunk, multiply)[1].params

    given = Tokens(params, x, targets, weights, dloss)
    fixed = given._replace(dloss=jax.lax.stop_gradient(dloss))
    of_params = jax.lax.cond(is_one, multiplied, partial(of, times, fixed))
    of_params = _with_derivative(of_params, partial(of, jnp.multiply), given)
    d_params = jax.tree.map(lambda d, p: d.astype(p.dtype), of_params, params)
    dx = times(dloss.astype(gradient.x.dtype)[..., None], gradient.x).astype(x.dtype)
    if weights is None:
        return d_params, dx
    assert gradient.weights is not None, "fwd saves it with the weights"
    d_weights = times(dloss.astype(gradient.weights.dtype), gradient.weights)
    return d_params, dx, d_weights.astype(weights.dtype)


def of_sum(params: Params, res: Residuals) -> tuple[Params, Float[Array, "*B I"]]:
    """The cotangents of the params and of `x` of the sum of all losses: those of `bwd` for dl = 1."""
    d_params = jax.tree.map(lambda d, p: d.astype(p.dtype), res.gradient.params, params)
    return d_params, res.gradient.x.astype(res.x.dtype)


def _with_derivative(of_params: Params, by: Callable[[Tokens], Params], given: Tokens) -> Params:
    """`of_params`, which are `by(given)`, with the derivative by the losses' cotangent, a linear one.

    Where all cotangents are one number, their tangents need not be.
    """

    @jax.custom_jvp
    def nothing(of_params: Params, given: Tokens) -> Params:
        return varying_as(jax.tree.map(jnp.zeros_like, of_params), given)

    @partial(nothing.defjvp, symbolic_zeros=True)
    def _(primals: tuple[Params, Tokens], tangents: tuple[Any, Tokens]) -> tuple[Params, Params]:
        _, given = primals
        zeros, tangent = nothing(*primals), tangents[1].dloss
        return zeros, by(given._replace(dloss=tangent)) if isinstance(tangent, jax.Array) else zeros

    return jax.tree.map(jnp.add, of_params, nothing(of_params, given))


def _sweep(
    given: Tokens,
    options: dict[str, Any],
    soft_cap: float | None,
    chunk: int | None,
    multiply: Multiply = times,
) -> tuple[Float[Array, "*B"], Gradient]:
    """The losses and their gradient in at least float32, a chunk of tokens at a time."""
    params, x, targets, weights, dloss = given
    w, b = params
    wide = accumulator(x.dtype, w.dtype)
    w_x = w.astype(x.dtype)

    def step(sums: tuple[Array, Array | None], tokens: tuple) -> tuple[tuple, tuple]:
        x, targets, weights, dloss = tokens
        h = jnp.matmul(x, w_x, preferred_element_type=wide)
        if b is not None:
            h += jnp.broadcast_to(b.astype(wide), h.shape)  # (1)
        z, slope = capped(h, soft_cap)  # (2)
        weights = None if weights is None else weights.astype(wide)
        loss, saved = softmax_cross_entropy.fwd(z, targets, weights, **options)  # (3)
        cotangents = softmax_cross_entropy.bwd(saved, jnp.ones_like(loss), **options)  # (4)
        dz, d_weights = cotangents if isinstance(cotangents, tuple) else (cotangents, None)
        dz = dz if dloss is None else multiply(dloss.astype(wide)[:, None], dz)
        dh = dz if slope is None else dz * slope  # (5)
        narrow = dh.astype(x.dtype)
        dx = jnp.matmul(narrow, w_x.T, preferred_element_type=wide, out_sharding=like(x))  # (6)
        sum_w, sum_b = sums
        sums = (_with_products(sum_w, x, narrow, w), None if sum_b is None else sum_b + jnp.sum(dh, 0))  # (7)
        return sums, (loss.astype(x.dtype), dx, d_weights)

    each: tuple[Any, ...] = (x, targets, weights, dloss)
    shards = max(parts(a, 0) for a in jax.tree.leaves(each)) if targets.ndim else 1
    chunk = max(CHUNK, LOGITS // w.shape[1]) if chunk is None else chunk
    count = _chunks(targets.size, chunk, shards)
    if dloss is None and b is not None and targets.size % count:  # what fills the last chunk counts nothing
        each = (x, targets, weights, jnp.ones_like(targets, dtype=wide))
    tokens = jax.tree.map(lambda a: _in_chunks(a, targets.ndim, count), each)
    start = (jnp.zeros_like(w, wide), None if b is None else jnp.zeros_like(b, wide))
    (dw, db), each = jax.lax.scan(step, varying_as(start, (params, *each)), tokens)
    loss, dx, d_weights = jax.tree.map(lambda a: _out_of_chunks(a, targets), each)
    return loss, Gradient(Params(dw, db), dx, d_weights)


def _with_products(sums: Array, x: Array, dh: Array, w: Array) -> Array:
    """`sums + x^T dh`, laid out as w: some rows at a time, so that no second array as large as w is there."""
    turned = x.T

    def added(sums: Array, start: Any, rows: Array) -> Array:
        old = jax.lax.dynamic_slice_in_dim(sums, start, len(rows), 0)
        new = old + jnp.matmul(rows, dh, preferred_element_type=sums.dtype, out_sharding=like(w))
        return jax.lax.dynamic_update_slice_in_dim(sums, new, start, 0)

    def slab(i: Array, sums: Array) -> Array:
        return added(sums, i * ROWS, jax.lax.dynamic_slice_in_dim(turned, i * ROWS, ROWS, 0))

    slabs = 0 if like(w) is not None else len(turned) // ROWS  # rows of an explicit mesh are where they are
    sums = jax.lax.fori_loop(0, slabs, slab, sums) if slabs else sums
    rest = turned[slabs * ROWS :]
    return added(sums, slabs * ROWS, rest) if len(rest) else sums


def _in_chunks(a: Array, leading: int, count: int) -> Array:
    """Tokens in equal chunks, each of tokens far apart, so that all shards of a batch work on each."""
    for _ in range(leading - 1):
        a = merge_axes(a, 0)
    if leading == 0:
        a = a[None]
    lacking = -a.shape[0] % count
    if lacking:
        a = jnp.pad(a, [(0, lacking)] + [(0, 0)] * (a.ndim - 1))
    return jnp.swapaxes(split_axis(a, 0, max(1, a.shape[0] // count)), 0, 1)


def _chunks(tokens: int, chunk: int, shards: int) -> int:
    """How many chunks there are; of tokens in shards on a mesh a number that divides those of each."""
    count = max(1, -(-tokens // chunk))
    if shards == 1:
        return count
    local = tokens // shards
    return next((n for n in range(count, local) if local % n == 0), max(1, local))


def _out_of_chunks(a: Array, targets: Integer[Array, "*B"]) -> Array:
    """What `_in_chunks` made of the tokens, as they were."""
    a = merge_axes(jnp.swapaxes(a, 0, 1), 0)[: targets.size]
    return jnp.reshape(a, (*targets.shape, *a.shape[1:]))


def _check(
    params: Any,
    x: Array,
    targets: Any,
    weights: Any,
    soft_cap: float | None,
    chunk: int | None,
    options: dict[str, Any],
) -> None:
    op = "linear_cross_entropy"
    dense.check(op, params, x)
    if params.w.shape[1] == 0:
        raise ValueError(f"{op}: params.w has shape {params.w.shape}; expected at least one class")
    checks.array(op, "integer labels", targets=targets)
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(f"{op}: targets has dtype {targets.dtype}; expected integer labels")
    checks.shape(op, "targets", targets, x.shape[:-1], ", one label per token")
    if weights is not None:
        checks.floating(op, weights=weights)
        checks.shape(op, "weights", weights, x.shape[:-1], ", one weight per token")
    softmax_cross_entropy.check_options(op, **options)
    check_soft_cap(op, soft_cap)
    good = chunk is None or checks.is_count(chunk)
    checks.option(op, "chunk", chunk, good, "None or a positive integer")
