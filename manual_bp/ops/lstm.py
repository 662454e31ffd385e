r"""Long short-term memory over the time axis.   Axes: B batch, T time, I features in, H those of the state.

With h_{-1} and c_{-1} the given state, and z_t = x_t w_x + h_{t-1} w_h + b of the four gates side by side:

    i, f, o = s(z^i), s(z^f), s(z^o);    g = tanh z^g               (1)
    c_t = f c_{t-1} + i g                                           (2)
    h_t = o tanh c_t,    y_t = h_t                                  (3)

From the last step to the first, with dh_t = dy_t + what (7) brings from the step after, and dc likewise:

    dc_t     = dc_t + dh_t o (1 - tanh^2 c_t)                       (4)
    dz^i     = dc_t g i (1 - i)          dz^f = dc_t c_{t-1} f (1 - f)
    dz^g     = dc_t i (1 - g^2)          dz^o = dh_t tanh c_t o (1 - o)     (5)
    dc_{t-1} = dc_t f                                               (6)
    dh_{t-1} = dz_t w_h^T                                           (7)
    db, dw_x, dw_h, dx from dz after the scan, in `recurrence`      (8)

A step beyond an example's length leaves the state as it is, has y = 0, and passes dh and dc on as they are;
what x holds there does not count. A length that is negative or beyond T makes the example's outputs NaN.

Truncated backpropagation through time is this op over a chunk of steps, with the final state of the chunk
before as its state, and that state's cotangent left unused.

Saved: x, and of each step h_{t-1}, c_{t-1} and the gates, of which (2) makes c_t again.
Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; Gers et al. 2000,
doi:10.1162/089976600300015015.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Integer, Key

from manual_bp import checks, in_place, recurrence
from manual_bp.precision import wide

GATES = "ifgo"
"""The order of the gates in the last axis of the params: input, forget, candidate, output."""


class Params(NamedTuple):
    """`w_x` (I, 4H), `w_h` (H, 4H) and `b` (4H,), or `None` for gates without biases."""

    w_x: Float[Array, "I A"]
    w_h: Float[Array, "H A"]
    b: Float[Array, "A"] | None


class State(NamedTuple):
    """The output `h` (B, H) of a step, and its cell `c` (B, H)."""

    h: Float[Array, "*B H"]
    c: Float[Array, "*B H"]


class Residuals(NamedTuple):
    """Input and lengths; of each step the state before it, (T, B, H), and the gates."""

    x: Float[Array, "B T I"]
    lengths: Integer[Array, "B"] | None
    before: State
    gates: Float[Array, "T B A"]


def init(
    key: Key[Array, ""],
    in_features: int,
    features: int,
    *,
    initializer: str = "glorot",
    bias: bool = True,
    dtype: DTypeLike = jnp.float32,
) -> Params:
    """Random weights, each gate by itself, and zero biases but for the forget gate's, which are 1.

    So that the cell forgets little at first: Jozefowicz et al. 2015, proceedings.mlr.press/v37/jozefowicz15.
    """
    w_x, w_h = recurrence.init("lstm.init", key, in_features, features, len(GATES), initializer, dtype)
    b = jnp.repeat(jnp.array([gate == "f" for gate in GATES], dtype), features)
    return Params(w_x, w_h, b if bias else None)


def fwd(
    params: Params,
    x: Float[Array, "B T I"],
    state: State,
    lengths: Integer[Array, "B"] | None = None,
    *,
    reverse: bool = False,
) -> tuple[tuple[Float[Array, "B T H"], State], Residuals]:
    """The outputs `ys` (B, T, H) with the final state, and what the backward pass needs.

    With `reverse` the steps are taken from the last to the first, and `ys` stays in the order of `x`.
    """
    _check(params, x, state, lengths)
    checks.flag("lstm", "reverse", reverse)
    params = recurrence.whole_params(params)
    x, state, lengths = recurrence.by_example(x, state, lengths)
    steps = x.shape[1]
    keeps = recurrence.within(lengths, steps)
    zx = recurrence.preactivations(recurrence.time_first(x), params.w_x)
    w_h = params.w_h.astype(x.dtype)

    def step(state: State, zx: Array, keep: Array | None) -> tuple[State, Array, State]:
        h, c = state
        i, f, g, o = _gates(recurrence.biased(zx + recurrence.product(h.astype(x.dtype), w_h), params.b))
        c_new = f * c + i * g  # (2)
        h_new = o * jnp.tanh(c_new)  # (3)
        new = State(recurrence.kept(keep, h_new, h), recurrence.kept(keep, c_new, c))
        return new, jnp.concatenate([i, f, g, o], axis=-1), recurrence.cast(state, x.dtype)

    start = State(wide(state.h), wide(state.c))
    final, gates, before = in_place.scan(step, start, zx, keeps, reverse=reverse)
    final, gates = recurrence.cast((final, gates), x.dtype)
    ys = recurrence.outputs(recurrence.after(before.h, final.h, reverse), keeps, lengths)
    final = State(*(recurrence.seen(s, lengths, steps) for s in final))
    return (ys, final), Residuals(x, lengths, before, gates)


def bwd(
    params: Params,
    res: Residuals,
    d_output: tuple[Float[Array, "B T H"], State],
    *,
    reverse: bool = False,
) -> tuple[Params, Float[Array, "B T I"], State]:
    """The cotangents of the params, of `x` and of the first state."""
    checks.params("lstm", params, Params)
    dys, d_final = checks.together("lstm", "d_output", d_output, "dys", "d_final")
    checks.together("lstm", "d_final", d_final, *State._fields)
    x, lengths, before, gates = res
    steps = x.shape[1]
    recurrence.check_cotangents("lstm", dys, before.h, d_final_h=d_final[0], d_final_c=d_final[1])
    _, dys, d_final = recurrence.by_example(x, dys, d_final)
    given, params = params, recurrence.whole_params(params)
    keeps = recurrence.within(lengths, steps)
    w_h_t = recurrence.turned(params.w_h.astype(x.dtype))

    def step(d_state: State, gates: Array, inputs: tuple) -> tuple[State, Array, None]:
        (dh, dc), (gates, (dy, c, keep)) = d_state, recurrence.widened((gates, inputs))
        i, f, g, o = jnp.split(gates, len(GATES), axis=-1)
        dh_all = dh + dy
        tanh_c = jnp.tanh(f * c + i * g)  # (2)
        dc_all = dc + dh_all * o * (1 - tanh_c) * (1 + tanh_c)  # (4)
        dz = jnp.concatenate(
            [
                dc_all * g * i * (1 - i),
                dc_all * c * f * (1 - f),
                dc_all * i * (1 - g) * (1 + g),
                dh_all * tanh_c * o * (1 - o),
            ],
            axis=-1,
        )  # (5)
        dz = recurrence.kept(keep, dz, jnp.zeros_like(dz)).astype(x.dtype)
        dh_before = recurrence.kept(keep, recurrence.product(dz, w_h_t), dh)  # (7)
        return State(dh_before, recurrence.kept(keep, dc_all * f, dc)), dz, None  # (6)

    last = State(*(wide(recurrence.unseen(d, lengths, steps)) for d in d_final))
    dys = recurrence.output_cotangents(dys, keeps)
    d_state, dz, _ = in_place.scan(step, last, gates, (dys, before.c, keeps), reverse=not reverse)
    d_params = Params(
        recurrence.weight_cotangent(recurrence.counted(recurrence.time_first(x), keeps), dz, params.w_x),
        recurrence.weight_cotangent(before.h, dz, params.w_h),
        recurrence.bias_cotangent(dz, params.b),
    )  # (8)
    d_params = recurrence.laid_as_params(d_params, given)
    return d_params, recurrence.input_cotangent(dz, params.w_x, x, keeps), recurrence.cast(d_state, x.dtype)


def _gates(z: Array) -> tuple[Array, Array, Array, Array]:
    i, f, g, o = jnp.split(z, len(GATES), axis=-1)
    return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)  # (1)


def _check(params: Params, x: Array, state: State, lengths: Array | None) -> None:
    checks.params("lstm", params, Params)
    recurrence.check("lstm", params, len(GATES), x, lengths)
    checks.params("lstm", state, State, "state")
    for name, value in state._asdict().items():
        recurrence.check_state("lstm", f"state.{name}", value, x, params.w_h)
