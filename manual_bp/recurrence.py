r"""What recurrent ops share: time first, steps beyond an example's length, and products outside of the scan.

Axes: B batch, T time, I features in, H features of the state, A preactivations of all gates. With a_t the
preactivations of a step and da_t their cotangents:

    a_bta   = sum_i x_bti w_x,ia + ...,    one product for all steps, before the scan      (1)

    dw_x,ia = sum_bt x_bti da_bta                                   (2)
    dw_h,ha = sum_bt h_b,t-1,h da_bta                               (3)
    dx_bti  = sum_a da_bta w_x,ia                                   (4)

each one product after the scan.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, DTypeLike, Float, Integer, Key

from manual_bp import checks, initializers
from manual_bp.precision import accumulator, wide
from manual_bp.sharding import by_rows, laid_as, like, parts, whole


def init(
    op: str,
    key: Key[Array, ""],
    in_features: int,
    features: int,
    gates: int,
    initializer: str,
    dtype: DTypeLike,
) -> tuple[Float[Array, "I A"], Float[Array, "H A"]]:
    """Random `w_x` and `w_h`, each gate's drawn by itself."""
    checks.counts(op, in_features=in_features, features=features)
    of_x, of_h = jax.random.split(key)

    def side_by_side(key: Key[Array, ""], rows: int) -> Array:
        keys = jax.random.split(key, gates)
        return jnp.concatenate(
            [initializers.draw(op, initializer, k, (rows, features), dtype) for k in keys], axis=-1
        )

    return side_by_side(of_x, in_features), side_by_side(of_h, features)


def check(op: str, params: Any, gates: int, x: Array, lengths: Array | None) -> None:
    """Raise unless the weights fit `x` (B, T, I) and each other, and `lengths` (B,) are integers."""
    weights = {"params.w_x": params.w_x, "params.w_h": params.w_h}
    given = {f"params.{name}": b for name, b in params._asdict().items() if name.startswith("b")}
    biases = {name: b for name, b in given.items() if b is not None}
    arrays = weights | biases
    checks.floating(op, x=x, **arrays)
    w_x, w_h = params.w_x, params.w_h
    if w_h.ndim != 2 or w_h.shape[1] != gates * w_h.shape[0]:
        wanted = "(features, features)" if gates == 1 else f"(features, {gates} features)"
        raise ValueError(f"{op}: params.w_h has shape {w_h.shape}; expected {wanted}")
    if x.ndim != 3:
        raise ValueError(f"{op}: x has shape {x.shape}; expected three axes (batch, time, features)")
    width = w_h.shape[1:]
    checks.shape(op, "params.w_x", w_x, (x.shape[-1], *width), f", as x has shape {x.shape}")
    checks.no_wider(op, "x", x, "params.w_x", w_x)
    for name, value in arrays.items():
        checks.dtype(op, name, value, w_x.dtype)
    for name, value in biases.items():
        checks.shape(op, name, value, width, f", as params.w_h has shape {w_h.shape}")
    if lengths is not None:
        checks.integers(op, lengths=lengths)
        checks.shape(op, "lengths", lengths, x.shape[:1], ", one for each example")


def check_state(op: str, name: str, state: Any, x: Array, w_h: Array) -> None:
    """Raise unless `state` is (B, H), in the dtype of `x`."""
    checks.floating(op, **{name: state})
    checks.shape(op, name, state, (x.shape[0], w_h.shape[0]), ", (batch, features)")
    checks.dtype(op, name, state, x.dtype)


def check_cotangents(op: str, dys: Any, states: Float[Array, "T B H"], **finals: Any) -> None:
    """Raise unless the cotangents have the shapes and the dtype of the outputs and of the final state."""
    steps, *shape = states.shape
    checks.cotangent(op, "dys", dys, jax.ShapeDtypeStruct((shape[0], steps, shape[1]), states.dtype))
    for name, value in finals.items():
        checks.cotangent(op, name, value, jax.ShapeDtypeStruct(shape, states.dtype))


def by_example(*trees: Any) -> Any:
    """Trees of arrays with the batch first, on an explicit mesh in parts along it alone: the state of a scan
    must lie as it did before a step.
    """
    leaves = jax.tree.leaves(trees)
    first = next((leaf for leaf in leaves if parts(leaf, 0) > 1), leaves[0])
    return jax.tree.map(lambda leaf: by_rows(leaf, first), trees)


def whole_params(params: Any) -> Any:
    """Params of which on an explicit mesh every device has all: each step's product needs them."""
    return jax.tree.map(whole, params)


def laid_as_params(d_params: Any, params: Any) -> Any:
    """The cotangent of params, laid out as they are."""
    return jax.tree.map(laid_as, d_params, params)


def time_first(x: Float[Array, "B T I"]) -> Float[Array, "T B I"]:
    """The same with its first two axes exchanged: a scan takes a step at a time."""
    return jnp.swapaxes(x, 0, 1)


def within(lengths: Integer[Array, "B"] | None, steps: int) -> Bool[Array, "T B 1"] | None:
    """Which steps are within an example's length: none of an example whose length cannot be."""
    if lengths is None:
        return None
    counted = jnp.where(possible(lengths, steps), lengths, 0).astype(jnp.int32)
    return (jnp.arange(steps, dtype=jnp.int32)[:, None] < counted[None])[..., None]


def possible(lengths: Integer[Array, "B"], steps: int) -> Bool[Array, "B"]:
    """Which lengths are in 0..T."""
    largest = min(steps, int(jnp.iinfo(lengths.dtype).max))
    return (lengths >= 0) & (lengths <= largest)


def seen(
    value: Float[Array, "B *H"], lengths: Integer[Array, "B"] | None, steps: int
) -> Float[Array, "B *H"]:
    """`value`, NaN for an example whose length cannot be: it must not go on unseen."""
    return value if lengths is None else jnp.where(_rows(lengths, steps, value), value, jnp.nan)


def unseen(d: Float[Array, "B *H"], lengths: Integer[Array, "B"] | None, steps: int) -> Float[Array, "B *H"]:
    """The cotangent of what `seen` was given."""
    return d if lengths is None else jnp.where(_rows(lengths, steps, d), d, 0)


def _rows(lengths: Array, steps: int, value: Array) -> Array:
    holds = possible(lengths, steps).reshape(-1, *(1,) * (value.ndim - 1))
    return jnp.broadcast_to(holds, value.shape)


def outputs(
    hs: Float[Array, "T B H"], keeps: Bool[Array, "T B 1"] | None, lengths: Integer[Array, "B"] | None
) -> Float[Array, "B T H"]:
    """The outputs: the state after each step, and zeros beyond an example's length."""
    if keeps is not None:
        hs = jnp.where(keeps, hs, 0)
    return seen(time_first(hs), lengths, len(hs))


def output_cotangents(
    dys: Float[Array, "B T H"], keeps: Bool[Array, "T B 1"] | None
) -> Float[Array, "T B H"]:
    """The cotangent of the state after each step."""
    return counted(time_first(dys), keeps)


def counted(x: Float[Array, "T B I"], keeps: Bool[Array, "T B 1"] | None) -> Float[Array, "T B I"]:
    """`x`, zero beyond an example's length: whatever stands there must not meet a product."""
    return x if keeps is None else jnp.where(keeps, x, 0)


def widened(tree: Any) -> Any:
    """Floating point leaves in at least float32."""
    return jax.tree.map(lambda x: wide(x) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def cast(tree: Any, dtype: DTypeLike) -> Any:
    """Every leaf in `dtype`."""
    return jax.tree.map(lambda x: x.astype(dtype), tree)


def kept(keep: Bool[Array, "B 1"] | None, new: Array, old: Array) -> Array:
    """`new` within an example's length, `old` beyond it."""
    return new if keep is None else jnp.where(keep, new, old)


def preactivations(x: Float[Array, "T B I"], w_x: Float[Array, "I A"]) -> Float[Array, "T B A"]:
    """What the input adds to the preactivations of every step, in at least float32."""
    return product(x, w_x.astype(x.dtype))  # (1)


def biased(a: Float[Array, "B A"], b: Float[Array, "A"] | None) -> Float[Array, "B A"]:
    """A step's preactivations with their bias: added here, it is no array of all steps."""
    return a if b is None else a + jnp.broadcast_to(b.astype(a.dtype), a.shape)


def product(x: Float[Array, "*B I"], w: Float[Array, "I A"]) -> Float[Array, "*B A"]:
    """`x @ w` in at least float32."""
    return jnp.matmul(x, w, preferred_element_type=accumulator(x.dtype))


def turned(w: Float[Array, "I A"]) -> Float[Array, "A I"]:
    """`w.T` as an array of its own: the steps of a scan take it faster than they turn `w`, each anew."""
    return lax.optimization_barrier(w.T)


def input_cotangent(
    da: Float[Array, "T B A"],
    w_x: Float[Array, "I A"],
    x: Float[Array, "B T I"],
    keeps: Bool[Array, "T B 1"] | None,
) -> Float[Array, "B T I"]:
    """The cotangent of `x`."""
    axes = (((da.ndim - 1,), (1,)), ((), ()))
    dx = lax.dot_general(da, w_x.astype(da.dtype), axes, preferred_element_type=accumulator(da.dtype))  # (4)
    return time_first(counted(dx, keeps)).astype(x.dtype)


def weight_cotangent(
    x: Float[Array, "T B I"], da: Float[Array, "T B A"], w: Float[Array, "I A"]
) -> Float[Array, "I A"]:
    """The cotangent of weights that see `x`, the input or the state before, at each step."""
    axes = ((0, 1), (0, 1))
    dw = jnp.tensordot(x, da, axes, preferred_element_type=accumulator(x.dtype), out_sharding=like(w))
    return dw.astype(w.dtype)  # (2), (3)


def before(first: Float[Array, "B H"], hs: Float[Array, "T B H"], reverse: bool) -> Float[Array, "T B H"]:
    """The state before each step, of the first one and of those after each step."""
    alone = laid_as(first[None], hs)
    return jnp.concatenate([hs, alone])[1:] if reverse else jnp.concatenate([alone, hs])[:-1]


def after(before_: Float[Array, "T B H"], final: Float[Array, "B H"], reverse: bool) -> Float[Array, "T B H"]:
    """The state after each step, of those before each step and the final one."""
    return before(final, before_, not reverse)


def bias_cotangent(da: Float[Array, "T B A"], b: Float[Array, "A"] | None) -> Float[Array, "A"] | None:
    """The cotangent of a bias of the preactivations, if there is one."""
    return None if b is None else jnp.sum(da, (0, 1), dtype=accumulator(da.dtype)).astype(b.dtype)
