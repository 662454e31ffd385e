"""Mistakes in what mixes over time, or rounds: windowed attention, selective scans, soft quantisation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .form import Original, Planted
from .planting import edited, narrow, normal, wide

WINDOW = 1
LIMIT = 2.0


# Attention within a window: a key is seen by the queries at most one step away.


def windowed(q, k, v):
    time, width = q.shape[1:]
    near = jnp.abs(jnp.arange(time)[:, None] - jnp.arange(time)[None]) <= WINDOW
    scores = jnp.einsum("bqd,bkd->bqk", q, k) / width**0.5
    p = jax.nn.softmax(jnp.where(near[None], scores, -jnp.inf), axis=-1)
    return jnp.einsum("bqk,bkd->bqd", p, v)


def _near(time, window=WINDOW, shift=0):
    away = np.arange(time)[:, None] - np.arange(time)[None] - shift
    return jnp.asarray(np.abs(away) <= window)[None]


def _probabilities(q, k, near):
    scores = jnp.einsum("bqd,bkd->bqk", wide(q), wide(k)) / q.shape[-1] ** 0.5
    scores = jnp.where(near, scores, -jnp.inf) if near is not None else scores
    e = jnp.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def windowed_fwd(q, k, v):
    p = _probabilities(q, k, _near(q.shape[1]))
    return jnp.einsum("bqk,bkd->bqd", p, wide(v)).astype(q.dtype), (q, k, v)


def _through_softmax(p, dp):
    return p * (dp - (p * dp).sum(-1, keepdims=True))


def windowed_bwd(residuals, dy, *, masked=True, jacobian=_through_softmax, scaled=True):
    q, k, v = residuals
    p, dy = _probabilities(q, k, _near(q.shape[1]) if masked else None), wide(dy)
    ds = jacobian(p, jnp.einsum("bqd,bkd->bqk", dy, wide(v))) / (q.shape[-1] ** 0.5 if scaled else 1)
    dq, dk = jnp.einsum("bqk,bkd->bqd", ds, wide(k)), jnp.einsum("bqk,bqd->bkd", ds, wide(q))
    return narrow(q.dtype, dq, dk, jnp.einsum("bqk,bqd->bkd", p, dy))


def _windowed_args(rng, realistic):
    shape = (4, 24, 16) if realistic else (2, 5, 4)
    return normal(rng, *shape), normal(rng, *shape), normal(rng, *shape)


# A selective scan: h_t = a_t h_{t-1} + b_t x_t with a = exp(-softplus(d)), and y_t = c_t h_t.


def selective_scan(x, d, b, c):
    def step(h, at):
        x, a, b, c = at
        h = a * h + b * x
        return h, c * h

    decays = jnp.exp(-jax.nn.softplus(d))
    return lax.scan(step, jnp.zeros_like(x[0]), (x, decays, b, c))[1]


def selective_scan_fwd(x, d, b, c):
    x, d, b, c = kept = tuple(map(wide, (x, d, b, c)))
    a = jax.nn.sigmoid(-d)

    def step(h, at):
        x, a, b = at
        return a * h + b * x, a * h + b * x

    _, h = lax.scan(step, jnp.zeros_like(x[0]), (x, a, b))
    return (c * h).astype(kept[0].dtype), (x, d, b, c, h)


def selective_scan_bwd(residuals, dy, *, carried=True, state="before", slope=True, of_c="after", gate=True):
    x, d, b, c, h = residuals
    a = jax.nn.sigmoid(-d)
    before = jnp.concatenate([jnp.zeros_like(h[:1]), h[:-1]])

    def step(dh, at):
        a, dy_c = at
        dh = dh + dy_c
        return (a * dh if gate else dh) if carried else jnp.zeros_like(dh), dh

    _, dh = lax.scan(step, jnp.zeros_like(h[0]), (a, wide(dy) * c), reverse=True)
    da = dh * (before if state == "before" else h)
    dd = -da * a * ((1 - a) if slope else 1)
    return narrow(dy.dtype, dh * b, dd, dh * x, wide(dy) * (h if of_c == "after" else before))


def _in_dtype(fwd):
    """The forward with its output in the dtype of `x`."""

    def cast(x, *others):
        y, residuals = fwd(x, *others)
        return y.astype(x.dtype), residuals

    return cast


selective_scan_forward = _in_dtype(selective_scan_fwd)


def _scan_args(rng, realistic):
    shape = (12, 8, 16) if realistic else (4, 2, 3)
    return tuple(normal(rng, *shape) for _ in range(4))


# Soft quantisation: x / step, clipped, moved towards the nearest integer, and back.


def quantised(x, step):
    z = jnp.clip(x / step[None], -LIMIT, LIMIT)
    return (z - jnp.sin(2 * jnp.pi * z) / (2 * jnp.pi)) * step[None]


def quantised_fwd(x, step):
    z = jnp.clip(wide(x) / wide(step)[None], -LIMIT, LIMIT)
    y = (z - jnp.sin(2 * jnp.pi * z) / (2 * jnp.pi)) * wide(step)[None]
    return y.astype(x.dtype), (x, step)


def quantised_bwd(residuals, dy, *, soft=True, own=True, through=True):
    x, step = map(wide, residuals)
    ratio = x / step[None]
    z = jnp.clip(ratio, -LIMIT, LIMIT)
    inside = jnp.abs(ratio) < LIMIT
    slope = (1 - jnp.cos(2 * jnp.pi * z)) if soft else jnp.ones_like(z)
    slope = jnp.where(inside, slope, 0)
    y = z - jnp.sin(2 * jnp.pi * z) / (2 * jnp.pi)
    d_step = (y if own else 0) - (slope * ratio if through else 0)
    return narrow(residuals[0].dtype, wide(dy) * slope, (wide(dy) * d_step).sum(0))


def _quantised_args(rng, realistic):
    rows, features = (48, 24) if realistic else (6, 4)
    return 2 * normal(rng, rows, features), rng.uniform(0.6, 1.4, features)


ORIGINALS = {
    "attention within a window": Original(windowed_fwd, windowed_bwd, windowed, _windowed_args),
    "selective scan": Original(selective_scan_forward, selective_scan_bwd, selective_scan, _scan_args),
    "soft quantisation": Original(quantised_fwd, quantised_bwd, quantised, _quantised_args),
}

_windowed = partial(Planted, "attention within a window", windowed_fwd)
_scan = partial(Planted, "selective scan", selective_scan_forward)
_quantised = partial(Planted, "soft quantisation", quantised_fwd)

MISTAKES = {
    "window: forgotten in the backward": _windowed(partial(windowed_bwd, masked=False), ("constant",)),
    "window: the softmax's diagonal": _windowed(
        partial(windowed_bwd, jacobian=lambda p, dp: p * (1 - p) * dp), ("reduction",)
    ),
    "window: the softmax's sum is over queries": _windowed(
        partial(windowed_bwd, jacobian=lambda p, dp: p * (dp - (p * dp).sum(1, keepdims=True))),
        ("reduction",),
    ),
    "window: the root of the width is forgotten": _windowed(partial(windowed_bwd, scaled=False), ("factor",)),
    "window: the values' is that of the keys": _windowed(
        edited(windowed_bwd, lambda r, dy, dq, dk, dv: (dq, dk, dk)), ("exchanged",)
    ),
    "window: the last step of v's has none": _windowed(
        edited(windowed_bwd, lambda r, dy, dq, dk, dv: (dq, dk, dv.at[:, -1].set(0))), ("conditional",)
    ),
    "scan: the decay's from h after the step": _scan(partial(selective_scan_bwd, state="after"), ("value",)),
    "scan: c's from h before the step": _scan(partial(selective_scan_bwd, of_c="before"), ("value",)),
    "scan: not carried": _scan(partial(selective_scan_bwd, carried=False), ("derivative",)),
    "scan: carried without the decay": _scan(partial(selective_scan_bwd, gate=False), ("derivative",)),
    "scan: softplus' slope is forgotten": _scan(partial(selective_scan_bwd, slope=False), ("derivative",)),
    "scan: b's and x's are exchanged": _scan(
        edited(selective_scan_bwd, lambda r, dy, dx, dd, db, dc: (db, dd, dx, dc)), ("exchanged",)
    ),
    "scan: the first step of x's has none": _scan(
        edited(selective_scan_bwd, lambda r, dy, dx, dd, db, dc: (dx.at[0].set(0), dd, db, dc)),
        ("conditional",),
    ),
    "quantisation: nothing below zero": _quantised(
        edited(quantised_bwd, lambda r, dy, dx, ds: (jnp.where(r[0] < 0, 0, dx), ds)), ("conditional",)
    ),
    "quantisation: straight through": _quantised(
        partial(quantised_bwd, soft=False), ("path", "derivative", "factor")
    ),
    "quantisation: the step's share of the division": _quantised(
        partial(quantised_bwd, through=False), ("path",)
    ),
    "quantisation: the step's own share": _quantised(partial(quantised_bwd, own=False), ("path",)),
    "quantisation: the step's is a mean": _quantised(
        edited(quantised_bwd, lambda r, dy, dx, ds: (dx, ds / len(dy))), ("factor", "reduction")
    ),
}
