r"""The plain recurrent network over the time axis.   Axes: B batch, T time, I features in, H features of the
state.

With h_{-1} the given state and f the tanh or the relu:

    h_t = f(z_t),    z_t = x_t w_x + h_{t-1} w_h + b,    y_t = h_t  (1)

From the last step to the first, with dh_t = dy_t + what (3) brings from the step after:

    dz_t     = f'(z_t) dh_t,    f' from h_t: 1 - h^2, or [h > 0]    (2)
    dh_{t-1} = dz_t w_h^T                                           (3)
    db, dw_x, dw_h, dx from dz after the scan, in `recurrence`      (4)

(3) multiplies by f' and w_h^T once a step: dh shrinks or grows with the number of steps. Steps beyond an
example's length, impossible lengths and truncated backpropagation are as those of `lstm`.

Saved: x, the first state, and of each step h.  Elman 1990, doi:10.1207/s15516709cog1402_1; Werbos 1990,
doi:10.1109/5.58337.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Integer, Key

from manual_bp import checks, in_place, recurrence
from manual_bp.ops import activations
from manual_bp.precision import wide

ACTIVATIONS = ("relu", "tanh")


class Params(NamedTuple):
    """`w_x` (I, H), `w_h` (H, H) and `b` (H,), or `None` for a network without biases."""

    w_x: Float[Array, "I H"]
    w_h: Float[Array, "H H"]
    b: Float[Array, "H"] | None


class Residuals(NamedTuple):
    """Input, first state and lengths, and the state after each step."""

    x: Float[Array, "B T I"]
    state: Float[Array, "B H"]
    lengths: Integer[Array, "B"] | None
    hs: Float[Array, "T B H"]


def init(
    key: Key[Array, ""],
    in_features: int,
    features: int,
    *,
    initializer: str = "glorot",
    bias: bool = True,
    dtype: DTypeLike = jnp.float32,
) -> Params:
    """Random weights by the named initialiser (of `initializers`) and, with `bias`, zero biases."""
    w_x, w_h = recurrence.init("rnn.init", key, in_features, features, 1, initializer, dtype)
    return Params(w_x, w_h, jnp.zeros(features, dtype) if bias else None)


def fwd(
    params: Params,
    x: Float[Array, "B T I"],
    state: Float[Array, "B H"],
    lengths: Integer[Array, "B"] | None = None,
    *,
    activation: str = "tanh",
    reverse: bool = False,
) -> tuple[tuple[Float[Array, "B T H"], Float[Array, "B H"]], Residuals]:
    """The outputs `ys` (B, T, H) with the final state, and what the backward pass needs.

    With `reverse` the steps are taken from the last to the first, and `ys` stays in the order of `x`.
    """
    checks.params("rnn", params, Params)
    recurrence.check("rnn", params, 1, x, lengths)
    recurrence.check_state("rnn", "state", state, x, params.w_h)
    checks.flag("rnn", "reverse", reverse)
    checks.choice("rnn", "activation", activation, ACTIVATIONS)
    f = activations.MEMBERS[activation]
    params = recurrence.whole_params(params)
    x, state, lengths = recurrence.by_example(x, state, lengths)
    steps = x.shape[1]
    keeps = recurrence.within(lengths, steps)
    zx = recurrence.preactivations(recurrence.time_first(x), params.w_x)
    w_h = params.w_h.astype(x.dtype)

    def step(h: Array, zx: Array, keep: Array | None) -> tuple[Array, Array, None]:
        z = recurrence.biased(zx + recurrence.product(h.astype(x.dtype), w_h), params.b)
        h_new, _ = f.fwd(z)  # (1)
        h_new = recurrence.kept(keep, h_new, h)
        return h_new, h_new, None

    final, hs, _ = in_place.scan(step, wide(state), zx, keeps, reverse=reverse)
    final, hs = recurrence.cast((recurrence.seen(final, lengths, steps), hs), x.dtype)
    return (recurrence.outputs(hs, keeps, lengths), final), Residuals(x, state, lengths, hs)


def bwd(
    params: Params,
    res: Residuals,
    d_output: tuple[Float[Array, "B T H"], Float[Array, "B H"]],
    *,
    activation: str = "tanh",
    reverse: bool = False,
) -> tuple[Params, Float[Array, "B T I"], Float[Array, "B H"]]:
    """The cotangents of the params, of `x` and of the first state."""
    checks.params("rnn", params, Params)
    dys, d_final = checks.together("rnn", "d_output", d_output, "dys", "d_final")
    x, state, lengths, hs = res
    steps = x.shape[1]
    recurrence.check_cotangents("rnn", dys, hs, d_final=d_final)
    _, dys, d_final = recurrence.by_example(x, dys, d_final)
    given, params = params, recurrence.whole_params(params)
    f = activations.MEMBERS[activation]
    keeps = recurrence.within(lengths, steps)
    w_h_t = recurrence.turned(params.w_h.astype(x.dtype))

    def step(dh: Array, dy: Array, inputs: tuple[Array, Array | None]) -> tuple[Array, Array, None]:
        h, keep = inputs
        dz = f.bwd(wide(h), dh + wide(dy))  # (2)
        dz = recurrence.kept(keep, dz, jnp.zeros_like(dz)).astype(x.dtype)
        return recurrence.kept(keep, recurrence.product(dz, w_h_t), dh), dz, None  # (3)

    last = wide(recurrence.unseen(d_final, lengths, steps))
    dys = recurrence.output_cotangents(dys, keeps)
    d_state, dz, _ = in_place.scan(step, last, dys, (hs, keeps), reverse=not reverse)
    d_params = Params(
        recurrence.weight_cotangent(recurrence.counted(recurrence.time_first(x), keeps), dz, params.w_x),
        recurrence.weight_cotangent(recurrence.before(state, hs, reverse), dz, params.w_h),
        recurrence.bias_cotangent(dz, params.b),
    )  # (4)
    d_params = recurrence.laid_as_params(d_params, given)
    return d_params, recurrence.input_cotangent(dz, params.w_x, x, keeps), d_state.astype(x.dtype)
