"""Mistakes in what goes through time: a moving average, a simple recurrent net, and an LSTM.

Arrays are (batch, time, features); within the scans time comes first.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from .form import Original, Planted
from .planting import edited, narrow, normal, wide


def _turned(x):
    return x.swapaxes(0, 1)


# y_t = a y_{t-1} + (1 - a) x_t with a = sigmoid(decay) of each feature, and y_{-1} = 0.
# 1 - a is sigmoid(-decay), which a decay of a hundred does not round to zero.


def moving_average(x, decay):
    a, kept, y, ys = jax.nn.sigmoid(decay)[None], jax.nn.sigmoid(-decay)[None], jnp.zeros_like(x[:, 0]), []
    for t in range(x.shape[1]):
        y = a * y + kept * x[:, t]
        ys.append(y)
    return jnp.stack(ys, 1)


def moving_average_fwd(x, decay):
    a, kept = jax.nn.sigmoid(wide(decay))[None], jax.nn.sigmoid(-wide(decay))[None]

    def step(y, x):
        return (y := a * y + kept * x), y

    xs = _turned(wide(x))
    _, ys = lax.scan(step, jnp.zeros_like(xs[0]), xs)
    return _turned(ys).astype(x.dtype), (xs, ys, decay)


def _slope(decay):
    return jax.nn.sigmoid(decay) * jax.nn.sigmoid(-decay)


def moving_average_bwd(residuals, dy, *, slope=_slope, reverse=True, carried=True, kept_in_dx=True, first=0):
    xs, ys, decay = residuals
    a, kept = jax.nn.sigmoid(wide(decay))[None], jax.nn.sigmoid(-wide(decay))[None]

    def step(later, dy):
        g = dy + later
        return a * g if carried else jnp.zeros_like(g), g

    _, g = lax.scan(step, jnp.zeros_like(xs[0]), _turned(wide(dy)), reverse=reverse)
    before = jnp.concatenate([jnp.zeros_like(ys[:1]), ys[:-1]])
    da = jnp.sum((g * (before - xs))[first:], (0, 1))
    return narrow(dy.dtype, _turned(kept[None] * g if kept_in_dx else g), da * slope(wide(decay)))


def _average_args(rng, realistic):
    batch, time, features = (32, 12, 48) if realistic else (2, 5, 4)
    return normal(rng, batch, time, features), normal(rng, features)


# h_t = tanh(x_t w + h_{t-1} u + b); the output is all h.


def rnn(x, h0, w, u, b):
    h, hs = h0, []
    for t in range(x.shape[1]):
        h = jnp.tanh(x[:, t] @ w + h @ u + b[None])
        hs.append(h)
    return jnp.stack(hs, 1)


def rnn_fwd(x, h0, w, u, b):
    xs, start = _turned(wide(x)), wide(h0)

    def step(h, x):
        return (h := jnp.tanh(x @ wide(w) + h @ wide(u) + wide(b)[None])), h

    _, hs = lax.scan(step, start, xs)
    return _turned(hs).astype(x.dtype), (xs, jnp.concatenate([start[None], hs]), wide(w), wide(u))


def rnn_bwd(residuals, dy, *, carried=True, values=slice(1, None), inputs=slice(-1), transposed=True,
            limit=None, first=0, of_weights=slice(None)):  # fmt: skip
    """`values` and `inputs` are those of h of which tanh' is taken, and that u was multiplied by."""
    xs, hs, w, u = residuals

    def step(dh, at):
        dy, h = at
        dz = (dy + dh) * (1 - h * h)
        if limit:
            dz = jnp.clip(dz, -limit, limit)
        return (dz @ (u.T if transposed else u) if carried else jnp.zeros_like(dh)), dz

    start = jnp.zeros_like(hs[0])
    dh0, dz = lax.scan(step, start, (_turned(wide(dy))[first:], hs[values][first:]), reverse=True)
    dz = jnp.concatenate([jnp.zeros_like(hs[:first]), dz])
    parts = xs[of_weights], hs[inputs][of_weights], dz[of_weights]
    dw, du = (jnp.einsum("tbi,tbh->ih", seen, parts[2]) for seen in parts[:2])
    return narrow(dy.dtype, _turned(dz @ w.T), dh0, dw, du, parts[2].sum((0, 1)))


def _last_step_skipped(residuals, dy):
    return rnn_bwd(residuals, dy.at[:, -1].set(0))


def _rnn_args(rng, realistic):
    batch, time, inner, width = (32, 8, 24, 32) if realistic else (2, 4, 3, 5)
    w, u = normal(rng, inner, width) / inner**0.5, normal(rng, width, width) / width**0.5
    return normal(rng, batch, time, inner), normal(rng, batch, width), w, u, normal(rng, width)


# LSTM: i, f, o = sigmoid and g = tanh of [x_t, h_{t-1}] w + b, c_t = f c_{t-1} + i g, h_t = o tanh c_t.
# The output is all h and the last c; h and c begin with zero.


def lstm(x, w, b):
    h = c = jnp.zeros((len(x), len(b) // 4), x.dtype)
    hs = []
    for t in range(x.shape[1]):
        i, f, g, o = jnp.split(jnp.concatenate([x[:, t], h], 1) @ w + b[None], 4, 1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        hs.append(h)
    return jnp.stack(hs, 1), c


def lstm_fwd(x, w, b):
    def step(carried, x):
        h, c = carried
        joined = jnp.concatenate([x, h], 1)
        i, f, g, o = jnp.split(joined @ wide(w) + wide(b)[None], 4, 1)
        i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
        new = f * c + i * g
        return (o * jnp.tanh(new), new), (o * jnp.tanh(new), (joined, c, new, i, f, g, o))

    start = jnp.zeros((len(x), len(b) // 4), wide(b).dtype)
    (_, c), (hs, kept) = lax.scan(step, (start, start), _turned(wide(x)))
    return (_turned(hs).astype(x.dtype), c.astype(x.dtype)), (kept, wide(w))


def lstm_bwd(residuals, d_output, *, order=(0, 1, 2, 3), forget=lambda dc, f: dc * f, slope_of_cell=True,
             slope_of_g=lambda g: 1 - g * g, last=slice(None), with_c=True):  # fmt: skip
    kept, w = residuals
    dhs, dc_last = d_output

    def step(carried, at):
        dh, dc = carried
        dy, (joined, before, c, i, f, g, o) = at
        dh, squashed = dh + dy, jnp.tanh(c)
        dc = dc + dh * o * (1 - squashed * squashed if slope_of_cell else 1)
        di, df, dg = dc * g * i * (1 - i), dc * before * f * (1 - f), dc * i * slope_of_g(g)
        gates = di, df, dg, dh * squashed * o * (1 - o)
        dz = jnp.concatenate([gates[k] for k in order], 1)
        dx, dh = jnp.split(dz @ w.T, [joined.shape[1] - c.shape[1]], 1)
        return (dh, forget(dc, f)), (dx, dz)

    start = jnp.zeros_like(kept[1][0])
    end = (start, wide(dc_last) if with_c else start)
    _, (dx, dz) = lax.scan(step, end, (_turned(wide(dhs)), kept), reverse=True)
    dw = jnp.einsum("tbi,tbz->iz", kept[0], dz)
    return narrow(dhs.dtype, _turned(dx), dw, dz[last].sum((0, 1)))


def _lstm_args(rng, realistic):
    batch, time, inner, width = (32, 6, 16, 32) if realistic else (2, 4, 3, 2)
    w = normal(rng, inner + width, 4 * width) / (inner + width) ** 0.5
    return normal(rng, batch, time, inner), w, normal(rng, 4 * width)


ORIGINALS = {
    "moving average": Original(moving_average_fwd, moving_average_bwd, moving_average, _average_args),
    "RNN": Original(rnn_fwd, rnn_bwd, rnn, _rnn_args),
    "LSTM": Original(lstm_fwd, lstm_bwd, lstm, _lstm_args),
}

_average = partial(Planted, "moving average", moving_average_fwd)
_rnn = partial(Planted, "RNN", rnn_fwd)
_lstm = partial(Planted, "LSTM", lstm_fwd)

MISTAKES = {
    "moving average: not carried through time": _average(
        partial(moving_average_bwd, carried=False), ("derivative",)
    ),
    "moving average: from the first step to the last": _average(
        partial(moving_average_bwd, reverse=False), ("derivative",)
    ),
    "moving average: 1 - a is forgotten in dx": _average(
        partial(moving_average_bwd, kept_in_dx=False), ("derivative",)
    ),
    "moving average: the decay's without the sigmoid's slope": _average(
        partial(moving_average_bwd, slope=jnp.ones_like), ("derivative",)
    ),
    "moving average: the decay's without the first step": _average(
        partial(moving_average_bwd, first=1), ("conditional",)
    ),
    "moving average: the slope by exp overflows": _average(
        partial(moving_average_bwd, slope=lambda d: jnp.exp(-d) / (1 + jnp.exp(-d)) ** 2), ("not finite",)
    ),
    "RNN: not carried through time": _rnn(partial(rnn_bwd, carried=False), ("zero",)),
    "RNN: the last step is skipped": _rnn(_last_step_skipped, ("reduction",)),
    "RNN: the first step is skipped": _rnn(partial(rnn_bwd, first=1), ("conditional",)),
    "RNN: the weights' of the last step only": _rnn(partial(rnn_bwd, of_weights=slice(-1, None)), ("path",)),
    "RNN: tanh' of the step before": _rnn(partial(rnn_bwd, values=slice(-1)), ("value",)),
    "RNN: u is not transposed": _rnn(partial(rnn_bwd, transposed=False), ("derivative",)),
    "RNN: the cotangent of u from h after the step": _rnn(
        partial(rnn_bwd, inputs=slice(1, None)), ("value",)
    ),
    "RNN: clipped at one": _rnn(partial(rnn_bwd, limit=1.0), ("not linear",)),
    "RNN: the start's is zero": _rnn(
        edited(rnn_bwd, lambda r, dy, dx, dh, dw, du, db: (dx, 0 * dh, dw, du, db)), ("zero",)
    ),
    "RNN: the start's is None": _rnn(
        edited(rnn_bwd, lambda r, dy, dx, dh, dw, du, db: (dx, None, dw, du, db)), ("structure", "zero")
    ),
    "RNN: u's decays": _rnn(
        edited(
            rnn_bwd, lambda r, dy, dx, dh, dw, du, db: (dx, dh, dw, du + 0.01 * r[3].astype(dy.dtype), db)
        ),
        ("added term", "not linear"),
    ),
    "LSTM: g and o exchanged": _lstm(partial(lstm_bwd, order=(0, 1, 3, 2)), ("exchanged",)),
    "LSTM: i and f exchanged": _lstm(partial(lstm_bwd, order=(1, 0, 2, 3)), ("exchanged",)),
    "LSTM: the path through the forget gate is forgotten": _lstm(
        partial(lstm_bwd, forget=lambda dc, f: jnp.zeros_like(dc)), ("derivative",)
    ),
    "LSTM: the cell's is not multiplied by the forget gate": _lstm(
        partial(lstm_bwd, forget=lambda dc, f: dc), ("derivative",)
    ),
    "LSTM: tanh' of the cell is forgotten": _lstm(partial(lstm_bwd, slope_of_cell=False), ("derivative",)),
    "LSTM: a sigmoid's slope for the candidate": _lstm(
        partial(lstm_bwd, slope_of_g=lambda g: g * (1 - g)), ("derivative",)
    ),
    "LSTM: the last cell's cotangent is ignored": _lstm(
        partial(lstm_bwd, with_c=False), ("cotangent ignored",)
    ),
    "LSTM: the bias's of the last step": _lstm(partial(lstm_bwd, last=slice(-1, None)), ("path",)),
}
