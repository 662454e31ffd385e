"""Mistakes in softmax of rows, in causal attention with padding, and in attention of grouped heads.

Grouped heads: every head of keys and values serves a group of neighbouring query heads.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from .form import Original, Planted
from .planting import edited, narrow, normal, wide


def softmax(x):
    return jax.nn.softmax(x, axis=-1)


def softmax_fwd(x):
    p = _softmax(wide(x))
    return p.astype(x.dtype), p


def _softmax(x):
    e = jnp.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _through_softmax(p, dp, axis=-1):
    return p * (dp - jnp.sum(p * dp, axis, keepdims=True))


def softmax_bwd(p, dy, jacobian=_through_softmax):
    return narrow(dy.dtype, jacobian(p, wide(dy)))


def _rows_args(rng, realistic):
    return (normal(rng, *((48, 80) if realistic else (5, 7))),)


def attention(q, k, v, known):
    """Of (batch, time, width); a query attends to the keys that are known, and no later than itself."""
    scores = jnp.einsum("bqd,bkd->bqk", q, k) / q.shape[-1] ** 0.5
    return softmax(jnp.where(_allowed(known), scores, -jnp.inf)) @ v


def _allowed(known):
    time = known.shape[-1]
    return jnp.tril(jnp.ones((time, time), bool))[None] & known[:, None, :]


def _probabilities(q, k, allowed):
    scores = jnp.einsum("bqd,bkd->bqk", wide(q), wide(k)) / q.shape[-1] ** 0.5
    return _softmax(scores if allowed is None else jnp.where(allowed, scores, -jnp.inf))


def attention_fwd(q, k, v, known):
    y = _probabilities(q, k, _allowed(known)) @ wide(v)
    return y.astype(q.dtype), (q, k, v, known)


def attention_bwd(
    residuals, dy, *, jacobian=_through_softmax, power=-0.5, allowed=_allowed, dk_from="bqk,bqd->bkd"
):
    q, k, v, known = residuals
    p = _probabilities(q, k, allowed(known))
    dv = jnp.einsum("bqk,bqd->bkd", p, wide(dy))
    ds = jacobian(p, jnp.einsum("bqd,bkd->bqk", wide(dy), wide(v))) * q.shape[-1] ** power
    dk = jnp.einsum(dk_from, ds, wide(q))
    return *narrow(q.dtype, ds @ wide(k), dk, dv), None


def _diagonal_zeroed(p, dp):
    return _through_softmax(p, dp) * (1 - jnp.eye(p.shape[-1], dtype=p.dtype))[None]


def _attention_args(rng, realistic):
    batch, time, width = (16, 24, 32) if realistic else (2, 5, 3)
    known = np.arange(time)[None] < rng.integers(time // 2, time + 1, (batch, 1))
    return *(normal(rng, batch, time, width) for _ in range(3)), known


def grouped_attention(q, k, v):
    """Of (batch, head, time, width), causal."""
    group = q.shape[1] // k.shape[1]
    k, v = jnp.repeat(k, group, 1), jnp.repeat(v, group, 1)
    scores = jnp.einsum("bhqd,bhkd->bhqk", q, k) / q.shape[-1] ** 0.5
    earlier = jnp.tril(jnp.ones(scores.shape[2:], bool))[None, None]
    return jnp.einsum("bhqk,bhkd->bhqd", softmax(jnp.where(earlier, scores, -jnp.inf)), v)


def _in_groups(q, heads):
    return q.reshape(len(q), heads, -1, *q.shape[2:])


def grouped_attention_fwd(q, k, v):
    grouped, scale = _in_groups(wide(q), k.shape[1]), q.shape[-1] ** -0.5
    scores = jnp.einsum("bngqd,bnkd->bngqk", grouped, wide(k)) * scale
    earlier = jnp.tril(jnp.ones(scores.shape[3:], bool))[None, None, None]
    p = _softmax(jnp.where(earlier, scores, -jnp.inf))
    return jnp.einsum("bngqk,bnkd->bngqd", p, wide(v)).reshape(q.shape).astype(q.dtype), (q, k, v, p)


def grouped_attention_bwd(
    residuals, dy, *, of_group=lambda d: d.sum(2), scaled=True, jacobian=_through_softmax
):
    q, k, v, p = residuals
    grouped, scale = _in_groups(wide(q), k.shape[1]), q.shape[-1] ** -0.5 if scaled else 1.0
    dy = _in_groups(wide(dy), k.shape[1])
    dv = of_group(jnp.einsum("bngqk,bngqd->bngkd", p, dy))
    ds = jacobian(p, jnp.einsum("bngqd,bnkd->bngqk", dy, wide(v))) * scale
    dq = jnp.einsum("bngqk,bnkd->bngqd", ds, wide(k)).reshape(q.shape)
    return narrow(q.dtype, dq, of_group(jnp.einsum("bngqk,bngqd->bngkd", ds, grouped)), dv)


def _interleaved(d):
    """Sums of every n-th query head, where keys and values have n heads."""
    return d.reshape(len(d), d.shape[2], d.shape[1], *d.shape[3:]).sum(1)


def _grouped_args(rng, realistic):
    batch, heads, time, width = (8, 2, 16, 32) if realistic else (2, 2, 5, 3)
    k, v = normal(rng, batch, heads, time, width), normal(rng, batch, heads, time, width)
    return normal(rng, batch, 3 * heads, time, width), k, v


ORIGINALS = {
    "softmax of rows": Original(softmax_fwd, softmax_bwd, softmax, _rows_args),
    "attention": Original(attention_fwd, attention_bwd, attention, _attention_args),
    "grouped attention": Original(
        grouped_attention_fwd, grouped_attention_bwd, grouped_attention, _grouped_args
    ),
}

_soft = partial(Planted, "softmax of rows", softmax_fwd)
_attention = partial(Planted, "attention", attention_fwd)
_grouped = partial(Planted, "grouped attention", grouped_attention_fwd)

MISTAKES = {
    "softmax: the Jacobian's diagonal": _soft(
        partial(softmax_bwd, jacobian=lambda p, dp: p * (1 - p) * dp), ("derivative",)
    ),
    "softmax: the sum is a constant": _soft(
        partial(softmax_bwd, jacobian=lambda p, dp: p * dp), ("statistic",)
    ),
    "softmax: summed over columns": _soft(
        partial(softmax_bwd, jacobian=partial(_through_softmax, axis=0)), ("reduction",)
    ),
    "softmax: a mean for the sum": _soft(
        partial(softmax_bwd, jacobian=lambda p, dp: p * (dp - jnp.mean(p * dp, 1, keepdims=True))),
        ("reduction", "factor"),
    ),
    "softmax: divided by p and multiplied again": _soft(
        partial(softmax_bwd, jacobian=lambda p, dp: p * (_through_softmax(p, dp) / p)), ("not finite",)
    ),
    "attention: the scale is forgotten": _attention(partial(attention_bwd, power=0), ("factor",)),
    "attention: the scale is applied twice": _attention(partial(attention_bwd, power=-1), ("factor",)),
    "attention: the mask is forgotten in the backward": _attention(
        partial(attention_bwd, allowed=lambda known: None), ("constant",)
    ),
    "attention: the padding is forgotten in the backward": _attention(
        partial(attention_bwd, allowed=lambda known: _allowed(jnp.ones_like(known))),
        ("conditional",),
    ),
    "attention: the softmax's diagonal": _attention(
        partial(attention_bwd, jacobian=lambda p, dp: p * (1 - p) * dp), ("reduction",)
    ),
    "attention: the softmax's sum is a constant": _attention(
        partial(attention_bwd, jacobian=lambda p, dp: p * dp), ("statistic",)
    ),
    "attention: the softmax's sum is over queries": _attention(
        partial(attention_bwd, jacobian=partial(_through_softmax, axis=1)), ("reduction",)
    ),
    "attention: dk and dv exchanged": _attention(
        edited(attention_bwd, lambda r, dy, dq, dk, dv, _: (dq, dv, dk, None)), ("exchanged",)
    ),
    "attention: dk by the scores' not transposed": _attention(
        partial(attention_bwd, dk_from="bkq,bqd->bkd"), ("derivative",)
    ),
    "attention: a query's own key is left out": _attention(
        partial(attention_bwd, jacobian=_diagonal_zeroed), ("conditional",)
    ),
    "attention: the keys' is zero": _attention(
        edited(attention_bwd, lambda r, dy, dq, dk, dv, _: (dq, 0 * dk, dv, None)), ("zero",)
    ),
    "attention: the mask has a cotangent": _attention(
        edited(attention_bwd, lambda r, dy, dq, dk, dv, _: (dq, dk, dv, r[3].astype(dy.dtype))),
        ("structure",),
    ),
    "attention: the probabilities in bfloat16": _attention(
        partial(
            attention_bwd,
            jacobian=lambda p, dp: _through_softmax(p.astype(jnp.bfloat16).astype(p.dtype), dp),
        ),
        ("precision",),
        none_in=("bfloat16",),
    ),
    "grouped attention: of a group only the first": _grouped(
        partial(grouped_attention_bwd, of_group=lambda d: d[:, :, 0]), ("reduction", "cotangent ignored")
    ),
    "grouped attention: a mean over the group": _grouped(
        partial(grouped_attention_bwd, of_group=lambda d: d.mean(2)), ("reduction", "factor")
    ),
    "grouped attention: grouped as if interleaved": _grouped(
        partial(grouped_attention_bwd, of_group=_interleaved),
        ("reduction", "exchanged"),
    ),
    "grouped attention: the scale is forgotten": _grouped(
        partial(grouped_attention_bwd, scaled=False), ("factor",)
    ),
    "grouped attention: the softmax's sum is a constant": _grouped(
        partial(grouped_attention_bwd, jacobian=lambda p, dp: p * dp), ("statistic",)
    ),
}
