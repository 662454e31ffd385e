r"""Gated recurrent unit over the time axis.   Axes: B batch, T time, I features in, H features of the state.

With h_{-1} the given state, a_t = x_t w_x + b_x and u_t = h_{t-1} w_h + b_h of the three gates side by side:

    r, z = s(a^r + u^r), s(a^z + u^z)                               (1)
    n    = tanh(a^n + r u^n),    or tanh(a^n + (r h_{t-1}) w_h^n + b_h^n) without `reset_after`       (2)
    h_t  = (1 - z) n + z h_{t-1},    y_t = h_t                      (3)

From the last step to the first, with dh_t = dy_t + what (7) or (8) brings from the step after:

    da^n = dh_t (1 - z) (1 - n^2)                                   (4)
    da^z = dh_t (h_{t-1} - n) z (1 - z)                             (5)
    da^r = dr r (1 - r),    dr = da^n u^n,  or  (da^n w_h^nT) h_{t-1}        (6)

    dh_{t-1} = dh_t z + du_t w_h^T,    du = (da^r, da^z, da^n r)             with `reset_after`       (7)
    dh_{t-1} = dh_t z + (da^r, da^z) w_h^rzT + (da^n w_h^nT) r               without                  (8)
    db_x, dw_x, dx from da, db_h and dw_h from du after the scan    (9)

Without `reset_after` db_h is db_x, and the n part of dw_h is a product with r h_{t-1} in place of h_{t-1}.

`reset_after` is the form of cuDNN, PyTorch and Flax, and Keras's default; without it, it is the paper's and
Keras's `reset_after=False`. In the paper z is what is called 1 - z here. Steps beyond an example's length,
impossible lengths and truncated backpropagation are as those of `lstm`.

Saved: x, and of each step h_{t-1}, the gates, and with `reset_after` u^n, in at least float32, as it knows no
bounds.
Cho et al. 2014, arXiv:1406.1078.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Integer, Key

from manual_bp import checks, in_place, recurrence
from manual_bp.precision import wide

GATES = "rzn"
"""The order of the gates in the last axis of the params: reset, update, candidate."""


class Params(NamedTuple):
    """`w_x` (I, 3H), `w_h` (H, 3H), and `b_x` and `b_h` (3H,), each `None` for gates without it."""

    w_x: Float[Array, "I A"]
    w_h: Float[Array, "H A"]
    b_x: Float[Array, "A"] | None
    b_h: Float[Array, "A"] | None


class Residuals(NamedTuple):
    """Input and lengths; of each step the state before it, the gates, and u^n with `reset_after`."""

    x: Float[Array, "B T I"]
    lengths: Integer[Array, "B"] | None
    before: Float[Array, "T B H"]
    gates: Float[Array, "T B A"]
    u_n: Float[Array, "T B H"] | None


def init(
    key: Key[Array, ""],
    in_features: int,
    features: int,
    *,
    initializer: str = "glorot",
    bias: bool = True,
    dtype: DTypeLike = jnp.float32,
) -> Params:
    """Random weights, each gate by itself, and with `bias` zero biases."""
    w_x, w_h = recurrence.init("gru.init", key, in_features, features, len(GATES), initializer, dtype)
    b_x, b_h = (jnp.zeros(len(GATES) * features, dtype) if bias else None for _ in range(2))
    return Params(w_x, w_h, b_x, b_h)


def fwd(
    params: Params,
    x: Float[Array, "B T I"],
    state: Float[Array, "B H"],
    lengths: Integer[Array, "B"] | None = None,
    *,
    reset_after: bool = True,
    reverse: bool = False,
) -> tuple[tuple[Float[Array, "B T H"], Float[Array, "B H"]], Residuals]:
    """The outputs `ys` (B, T, H) with the final state, and what the backward pass needs.

    With `reverse` the steps are taken from the last to the first, and `ys` stays in the order of `x`.
    """
    checks.params("gru", params, Params)
    recurrence.check("gru", params, len(GATES), x, lengths)
    recurrence.check_state("gru", "state", state, x, params.w_h)
    checks.flag("gru", "reverse", reverse)
    checks.flag("gru", "reset_after", reset_after)
    params = recurrence.whole_params(params)
    x, state, lengths = recurrence.by_example(x, state, lengths)
    steps = x.shape[1]
    keeps = recurrence.within(lengths, steps)
    ax = recurrence.preactivations(recurrence.time_first(x), params.w_x)
    gates_of = (_reset_after if reset_after else _reset_before)(params, x.dtype)

    def step(h: Array, a: Array, keep: Array | None) -> tuple[Array, Array, tuple]:
        (r, z, n), u_n = gates_of(recurrence.biased(a, params.b_x), h)
        h_new = recurrence.kept(keep, (1 - z) * n + z * h, h)  # (3)
        return h_new, jnp.concatenate([r, z, n], axis=-1), (h.astype(x.dtype), u_n)

    final, gates, (before, u_n) = in_place.scan(step, wide(state), ax, keeps, reverse=reverse)
    final, gates = recurrence.cast((final, gates), x.dtype)
    ys = recurrence.outputs(recurrence.after(before, final, reverse), keeps, lengths)
    return (ys, recurrence.seen(final, lengths, steps)), Residuals(x, lengths, before, gates, u_n)


def bwd(
    params: Params,
    res: Residuals,
    d_output: tuple[Float[Array, "B T H"], Float[Array, "B H"]],
    *,
    reset_after: bool = True,
    reverse: bool = False,
) -> tuple[Params, Float[Array, "B T I"], Float[Array, "B H"]]:
    """The cotangents of the params, of `x` and of the first state."""
    checks.params("gru", params, Params)
    dys, d_final = checks.together("gru", "d_output", d_output, "dys", "d_final")
    x, lengths, before, gates, u_n = res
    recurrence.check_cotangents("gru", dys, before, d_final=d_final)
    _, dys, d_final = recurrence.by_example(x, dys, d_final)
    given, params = params, recurrence.whole_params(params)
    steps = x.shape[1]
    keeps = recurrence.within(lengths, steps)
    through = (_through_reset_after if reset_after else _through_reset_before)(params, x.dtype)

    def step(dh: Array, gates: Array, inputs: tuple) -> tuple[Array, Array, Array]:
        gates, (dy, h, u_n, keep) = recurrence.widened((gates, inputs))
        r, z, n = _parts(gates)
        dh_all = dh + dy
        da_n = dh_all * (1 - z) * (1 - n) * (1 + n)  # (4)
        da_z = dh_all * (h - n) * z * (1 - z)  # (5)
        da_r, dh_before, beside = through(da_n, da_z, r, h, u_n)
        da = jnp.concatenate([da_r, da_z, da_n], axis=-1)
        da, beside = (recurrence.kept(keep, d, jnp.zeros_like(d)).astype(x.dtype) for d in (da, beside))
        return recurrence.kept(keep, dh_all * z + dh_before, dh), da, beside

    last = wide(recurrence.unseen(d_final, lengths, steps))
    dys = recurrence.output_cotangents(dys, keeps)
    d_state, da, beside = in_place.scan(step, last, gates, (dys, before, u_n, keeps), reverse=not reverse)
    dw_h, db_h = (_of_state_after if reset_after else _of_state_before)(params, before, da, beside)
    d_params = Params(
        recurrence.weight_cotangent(recurrence.counted(recurrence.time_first(x), keeps), da, params.w_x),
        dw_h,
        recurrence.bias_cotangent(da, params.b_x),
        db_h,
    )  # (9)
    d_params = recurrence.laid_as_params(d_params, given)
    return d_params, recurrence.input_cotangent(da, params.w_x, x, keeps), d_state.astype(x.dtype)


def _reset_after(params: Params, dtype: DTypeLike) -> Callable[..., tuple]:
    """`gates(a, h) -> ((r, z, n), u_n)`, the reset gate upon the product with the state."""
    w_h, b_h = _weights(params, dtype)

    def gates(a: Array, h: Array) -> tuple:
        a_r, a_z, a_n = _parts(a)
        u_r, u_z, u_n = _parts(recurrence.biased(recurrence.product(h.astype(dtype), w_h), b_h))
        r, z = jax.nn.sigmoid(a_r + u_r), jax.nn.sigmoid(a_z + u_z)  # (1)
        return (r, z, jnp.tanh(a_n + r * u_n)), u_n  # (2)

    return gates


def _through_reset_after(params: Params, dtype: DTypeLike) -> Callable[..., tuple[Array, Array, Array]]:
    """`through(da_n, da_z, r, h, u_n) -> (da_r, what comes to the state before by w_h, du^n)`."""
    w_h_t = recurrence.turned(_weights(params, dtype)[0])

    def through(da_n: Array, da_z: Array, r: Array, h: Array, u_n: Array) -> tuple[Array, Array, Array]:
        da_r = da_n * u_n * r * (1 - r)  # (6)
        du_n = da_n * r
        du = jnp.concatenate([da_r, da_z, du_n], axis=-1)
        return da_r, recurrence.product(du.astype(dtype), w_h_t), du_n  # (7)

    return through


def _reset_before(params: Params, dtype: DTypeLike) -> Callable[..., tuple]:
    """`gates(a, h) -> ((r, z, n), None)`, the reset gate upon the state before its product."""
    w_h, b_h = _weights(params, dtype)
    (w_own, w_n), (b_own, b_n) = _apart(w_h), (None, None) if b_h is None else _apart(b_h)

    def gates(a: Array, h: Array) -> tuple:
        a_r, a_z, a_n = _parts(a)
        u = recurrence.biased(recurrence.product(h.astype(dtype), w_own), b_own)
        r, z = (
            jax.nn.sigmoid(own + other) for own, other in zip((a_r, a_z), jnp.split(u, 2, -1), strict=True)
        )  # (1)
        u_n = recurrence.biased(recurrence.product((r * h).astype(dtype), w_n), b_n)
        return (r, z, jnp.tanh(a_n + u_n)), None  # (2)

    return gates


def _through_reset_before(params: Params, dtype: DTypeLike) -> Callable[..., tuple[Array, Array, Array]]:
    """`through(da_n, da_z, r, h, None) -> (da_r, what comes to the state before by w_h, r h)`."""
    w_own_t, w_n_t = map(recurrence.turned, _apart(_weights(params, dtype)[0]))

    def through(da_n: Array, da_z: Array, r: Array, h: Array, _: None) -> tuple[Array, Array, Array]:
        d_reset = recurrence.product(da_n.astype(dtype), w_n_t)
        da_r = d_reset * h * r * (1 - r)  # (6)
        own = jnp.concatenate([da_r, da_z], axis=-1)
        return da_r, recurrence.product(own.astype(dtype), w_own_t) + d_reset * r, r * h  # (8)

    return through


def _of_state_after(params: Params, before: Array, da: Array, du_n: Array) -> tuple[Array, Array | None]:
    """The cotangents of `w_h` and of `b_h`."""
    du = jnp.concatenate([_apart(da)[0], du_n], axis=-1)
    return recurrence.weight_cotangent(before, du, params.w_h), recurrence.bias_cotangent(du, params.b_h)


def _of_state_before(params: Params, before: Array, da: Array, reset: Array) -> tuple[Array, Array | None]:
    """The cotangents of `w_h` and of `b_h`, with `reset` r h of each step."""
    (w_own, w_n), (da_own, da_n) = _apart(params.w_h), _apart(da)
    own = recurrence.weight_cotangent(before, da_own, w_own)
    dw_h = jnp.concatenate([own, recurrence.weight_cotangent(reset, da_n, w_n)], axis=-1)
    return dw_h, recurrence.bias_cotangent(da, params.b_h)


def _weights(params: Params, dtype: DTypeLike) -> tuple[Array, Array | None]:
    b_h = params.b_h
    return params.w_h.astype(dtype), None if b_h is None else b_h.astype(dtype)


def _parts(a: Array) -> list[Array]:
    """Those of the three gates."""
    return jnp.split(a, len(GATES), axis=-1)


def _apart(a: Array) -> tuple[Array, Array]:
    """The reset and update gates' part, and the candidate's."""
    own, candidate = jnp.split(a, [a.shape[-1] // len(GATES) * 2], axis=-1)
    return own, candidate
