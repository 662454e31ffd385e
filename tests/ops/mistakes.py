"""Planted mistakes: right forwards with wrong backwards, each of a kind people really make.

`MISTAKES` maps a name to the case it spoils and the spoilt pair. The gradient test must fail each.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jax_ref.verify.oracle import is_floating
from manual_bp.models import gpt, mlp
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


class Pair(NamedTuple):
    """A forward and a backward."""

    fwd: Any
    bwd: Any


class Mistake(NamedTuple):
    """The case whose gradient is wrong, and the wrong pair; `slow` if others of the case are like it."""

    case: str
    pair: Pair
    slow: bool = False


def _in_dense(spoil: Any) -> Mistake:
    def bwd(params, x, dy):
        return spoil(params, x, dy, *dense.bwd(params, x, dy))

    return Mistake("dense", Pair(dense.fwd, bwd))


def _of(case: str, op: Any, bwd: Any, *, slow: bool = False) -> Mistake:
    return Mistake(case, Pair(op.fwd, bwd), slow)


def _bias_not_summed(params, x, dy, dparams, dx):
    first = dy.reshape(-1, dy.shape[-1])[0]
    return dparams._replace(b=None if params.b is None else first), dx


def _bias_forgotten(params, x, dy, dparams, dx):
    return dparams._replace(b=None if params.b is None else jnp.zeros_like(params.b)), dx


def _weights_averaged(params, x, dy, dparams, dx):
    return dparams._replace(w=dparams.w / max(1, dy.size // dy.shape[-1])), dx


def _last_example_dropped(params, x, dy, dparams, dx):
    kept = jnp.ones(dy.shape[0], dy.dtype).at[-1].set(0).reshape(-1, *[1] * (dy.ndim - 1))
    return dense.bwd(params, x, dy * kept)[0], dx


def _only_first_leading_axis(params, x, dy, dparams, dx):
    return (dparams, dx) if x.ndim < 3 else (dense.bwd(params, x[:, 0], dy[:, 0])[0], dx)


def _input_gradient_of_transposed_weight(params, x, dy, dparams, dx):
    # right on square weights that happen to be symmetric, and in shape on none but square ones
    return dparams, jnp.flip(dx, -1)


def _float16_on_the_way(params, x, dy, dparams, dx):
    return dparams, dx.astype(jnp.float16).astype(dx.dtype)


def _slightly_off(params, x, dy, dparams, dx):
    return dparams._replace(w=dparams.w * (1 + 1e-10)), dx


def _wrong_dtype(params, x, dy, dparams, dx):
    return dparams, dx.astype(jnp.float32)


def _relu_leaks_at_zero(a, da):
    return jnp.where(a >= 0, da, 0)


def _softmax_by_its_diagonal(p, dp, *, axis=-1):
    return p * (1 - p) * dp


def _softmax_over_the_last_axis(p, dp, *, axis=-1):
    return softmax.bwd(p, dp, axis=-1)


def _log_softmax_forgets_the_mask(res, dy, *, axis=-1):
    return log_softmax.bwd(res._replace(mask=None), dy, axis=axis)


def _cross_entropy_assumes_sum_one(res, dloss, **options):
    dx, *others = softmax_cross_entropy.bwd(res, dloss, **options)
    if not is_floating(res.targets):
        return (dx, *others) if others else dx
    p = jnp.exp(res.logits - res.maximum) / res.total
    excess = (1 - options.get("label_smoothing", 0)) * (1 - res.targets.sum(-1))
    weights = 1 if res.weights is None else res.weights
    return (dx + (dloss * weights * excess)[..., None].astype(p.dtype) * p, *others)


def _cross_entropy_ignores_smoothing(res, dloss, **options):
    return softmax_cross_entropy.bwd(res, dloss, **{**options, "label_smoothing": 0.0})


def _cross_entropy_without_z_loss(res, dloss, **options):
    return softmax_cross_entropy.bwd(res, dloss, **{**options, "z_loss": 0.0})


def _cross_entropy_counts_ignored(res, dloss, **options):
    return softmax_cross_entropy.bwd(res, dloss, **{**options, "ignore_label": None})


def _target_gradient_negated(e, dloss):
    dy, dt = squared_error.bwd(e, dloss)
    return dy, -dt


def _mean_instead_of_sum(e, dloss):
    return tuple(d / e.shape[-1] for d in squared_error.bwd(e, dloss))


def _cotangent_ignored(e, dloss):
    return squared_error.bwd(e, jnp.ones_like(dloss))


def _cotangent_without_sign(e, dloss):
    return squared_error.bwd(e, jnp.abs(dloss))


def _huber_without_delta(c, dloss, *, delta=1.0):
    return huber.bwd(c, dloss, delta=0.5)


def _spread_taken_for_a_constant(params, res, dy, **options):
    dparams, _ = layer_norm.bwd(params, res, dy, **options)
    u = jnp.broadcast_to(params.g, dy.shape) * dy
    return dparams, (res.scale * (u - u.mean(-1, keepdims=True))).astype(dy.dtype)


def _positive_weight_forgotten(res, dloss):
    cotangents = sigmoid_cross_entropy.bwd(res, dloss)
    if res.pos_weight is None:
        return cotangents
    plain = sigmoid_cross_entropy.bwd(res._replace(pos_weight=None), dloss)
    return (plain[0] if isinstance(plain, tuple) else plain, *cotangents[1:])


def _activation_for_preactivation(a, da):
    s = jax.nn.sigmoid(a)  # the derivative taken at a, not at z
    return da * s * (1 - s)


def _mlp_negates_a_bias(params, res, dy, **static):
    dparams, dx = mlp.bwd(params, res, dy, **static)
    first, *rest = dparams.layers
    assert first.b is not None
    return mlp.Params((first._replace(b=-first.b), *rest)), dx


def _mlp_updates_before_propagating(params, res, dy, **static):
    dparams, _ = mlp.bwd(params, res, dy, **static)
    moved = jax.tree.map(lambda p, d: p - 1e-3 * d, params, dparams)
    return dparams, mlp.bwd(moved, res, dy, **static)[1]


def _not_finite_when_saturated(z, da):
    e = jnp.exp(z)
    s = e / (1 + e)
    return da * (s + z * s * (1 - s))


def _kernel_not_flipped(params, x, dy, **options):
    flipped = params._replace(w=jnp.flip(params.w, range(params.w.ndim - 2)))
    return conv.bwd(params, x, dy, **options)[0], conv.bwd(flipped, x, dy, **options)[1]


def _ends_of_the_padding_exchanged(params, x, dy, **options):
    ends = options.get("padding", "SAME")
    swapped = ends if isinstance(ends, str) else tuple((hi, lo) for lo, hi in ends)
    return conv.bwd(params, x, dy, **{**options, "padding": swapped})


def _first_entry_for_the_largest(res, dy, **options):
    return pool.max.bwd(res._replace(first=jnp.zeros_like(res.first)), dy, **options)


def _padding_not_counted(form, dy, **options):
    return pool.average.bwd(form, dy, **{**options, "count_include_pad": False})


def _offset_forgotten(params, res, dy, **options):
    return rms_norm.bwd(params, res, dy, **{**options, "unit_offset": False})


def _root_mean_square_taken_for_a_constant(params, res, dy, **options):
    dparams, _ = rms_norm.bwd(params, res, dy, **options)
    w = params.g + 1 if options.get("unit_offset") else params.g
    dx = dy * jnp.broadcast_to(w.astype(dy.dtype), dy.shape) * res.r[..., None].astype(dy.dtype)
    return dparams, dx


def _group_not_centred(params, res, dy, **options):
    return group_norm.bwd(params, res._replace(mean=jax.tree.map(jnp.zeros_like, res.mean)), dy, **options)


def _variance_has_no_cotangent(params, res, d_output, **options):
    dy, statistics = d_output
    statistics = statistics._replace(var=jnp.zeros_like(statistics.var))
    return batch_norm.bwd(params, res, (dy, statistics), **options)


def _statistics_taken_for_constants(params, res, d_output, **options):
    dparams, _ = batch_norm.bwd(params, res, d_output, **options)
    gain = (params.g.astype(res.r.dtype) * res.r).astype(d_output[0].dtype)
    return dparams, d_output[0] * jnp.broadcast_to(gain, res.x.shape)


def _half_forgotten(params, res, dy, **options):
    dparams, dx, statistics = frozen_batch_norm.bwd(params, res, dy, **options)
    return dparams, dx, statistics._replace(var=2 * statistics.var)


def _another_mask(key, dy, *, rate):
    return dropout.bwd(jax.random.fold_in(key, 1), dy, rate=rate)


def _kept_entries_not_scaled(key, dy, *, rate):
    return dropout.bwd(key, dy, rate=rate) * (1 - rate)


def _repeated_ids_overwrite(params, ids, dy):
    table = jnp.zeros_like(params.table)
    return params._replace(table=table.at[ids].set(dy, mode="drop", wrap_negative_indices=False))


def _negative_ids_count_from_the_end(params, ids, dy):
    return params._replace(table=jnp.zeros_like(params.table).at[ids].add(dy, mode="drop"))


def _first_state_forgotten(params, res, d_output, **options):
    return rnn.bwd(params, res._replace(state=jnp.zeros_like(res.state)), d_output, **options)


def _padded_steps_counted(params, res, d_output, **options):
    return lstm.bwd(params, res._replace(lengths=None), d_output, **options)


def _input_and_forget_gates_exchanged(params, res, d_output, **options):
    i, f, g, o = res.gates
    return lstm.bwd(params, res._replace(gates=(f, i, g, o)), d_output, **options)


def _final_cell_has_no_cotangent(params, res, d_output, **options):
    dys, d_final = d_output
    return lstm.bwd(params, res, (dys, d_final._replace(c=jnp.zeros_like(d_final.c))), **options)


def _other_form_of_the_reset_gate(params, res, d_output, **options):
    return gru.bwd(params, res, d_output, **{**options, "reset_after": False})


def _update_gate_inverted(params, res, d_output, **options):
    r, z, n = res.gates
    return gru.bwd(params, res._replace(gates=(r, 1 - z, n)), d_output, **options)


def _identity_path_forgotten(params, res, d_output, **pairs):
    dparams, dx1, dx2 = reversible.bwd(params, res, d_output, **pairs)
    return dparams, dx1 - d_output[0], dx2


def _layers_in_the_order_of_the_forward(params, res, d_output, **pairs):
    dparams, *dx = reversible_stack.bwd(params, res, d_output, **pairs)
    return jax.tree.map(lambda p: jnp.flip(p, 0), dparams), *dx


def _first_query_head_of_a_group_alone(res, do, **options):
    dq, _, dv, *dbias = attention.bwd(res, do, **options)
    group = do.shape[2] // dv.shape[2]
    first = jnp.arange(do.shape[2]) % group == 0
    alone = attention.bwd(res, jnp.where(first[None, None, :, None], do, 0), **options)
    return dq, alone[1], alone[2], *dbias


def _mean_of_the_heads_of_a_group(res, do, **options):
    dq, dk, dv, *dbias = attention.bwd(res, do, **options)
    group = do.shape[2] // dk.shape[2]
    return dq, dk / group, dv / group, *dbias


def _scale_forgotten_for_the_keys(res, do, **options):
    dq, dk, dv, *dbias = attention.bwd(res, do, **options)
    c = options.get("scale") or do.shape[-1] ** -0.5
    return dq, dk / c, dv, *dbias


def _mask_forgotten_in_the_backward(res, do, **options):
    inputs = res.inputs._replace(mask=None, segments=None)
    return attention.bwd(res._replace(inputs=inputs), do, **options)


def _window_forgotten_in_the_backward(res, do, **options):
    return attention.bwd(res, do, **{**options, "window": None})


def _soft_cap_taken_for_the_identity(res, do, **options):
    dq, dk, *others = plain_attention.bwd(res._replace(slope=None), do, **options)
    return dq, dk, *others


def _bias_not_summed_over_the_batch(res, do, **options):
    *others, _ = plain_attention.bwd(res, do, **options)
    one = jax.tree.map(lambda x: x[:1] if x.ndim == 4 else x, res)
    return *others, plain_attention.bwd(one, do[:1], **options)[-1]


def _sum_over_the_keys_forgotten(res, do, **options):
    return attention.bwd(res._replace(o=jnp.zeros_like(res.o)), do, **options)  # the softmax's sum p dp


def _turned_forwards_again(positions, dy, **options):
    return rope.fwd(dy, positions, **options)[0]


def _positions_from_zero(positions, dy, **options):
    return rope.bwd(jnp.arange(dy.shape[1]), dy, **options)


def _other_pairs(positions, dy, *, interleaved=False, **options):
    return rope.bwd(positions, dy, interleaved=not interleaved, **options)


def _gate_without_its_slope(params, res, dy, *, activation="silu"):
    return gated_mlp.bwd(params, res, dy, activation="identity")


def _input_reached_by_one_path(params, res, dy, **options):
    dparams, _ = gated_mlp.bwd(params, res, dy, **options)
    no_gate = params._replace(gate=jax.tree.map(jnp.zeros_like, params.gate))
    return dparams, gated_mlp.bwd(no_gate, res, dy, **options)[1]  # x feeds the gate too


def _first_cotangent_for_all_tokens(params, res, dloss, **options):
    first = jnp.full_like(dloss, dloss.ravel()[0]) if dloss.size else dloss
    dparams, *_ = linear_cross_entropy.bwd(params, res, first, **options)
    _, *others = linear_cross_entropy.bwd(params, res, dloss, **options)
    return dparams, *others


def _last_chunk_dropped(params, res, dloss, *, chunk=256, **options):
    _, *others = linear_cross_entropy.bwd(params, res, dloss, chunk=chunk, **options)
    whole = dloss.size // chunk * chunk
    kept = jnp.where(jnp.arange(dloss.size).reshape(dloss.shape) < whole, dloss, 0)
    return linear_cross_entropy.bwd(params, res, kept, chunk=chunk, **options)[0], *others


def _weights_of_the_tokens_forgotten(params, res, dloss, **options):
    ones = None if res.weights is None else jnp.ones_like(res.weights)
    dparams, *_ = linear_cross_entropy.bwd(params, res._replace(weights=ones), dloss, **options)
    return dparams, *linear_cross_entropy.bwd(params, res, dloss, **options)[1:]


def _second_use_of_a_tied_table_forgotten(params, res, dlogits, **static):
    """As if the head were a matrix of its own."""
    if params.head is not None:
        return gpt.bwd(params, res, dlogits, **static)
    head = dense.Params(params.embedding.table.T, None)
    return gpt.bwd(params._replace(head=head), res, dlogits, **static)._replace(head=None)


MISTAKES = {
    "bias gradient not summed": _in_dense(_bias_not_summed),
    "bias gradient forgotten": _in_dense(_bias_forgotten),
    "mean over the batch taken twice": _in_dense(_weights_averaged),
    "last example dropped": _in_dense(_last_example_dropped),
    "only the first leading axis reduced": _in_dense(_only_first_leading_axis),
    "axis flipped": _in_dense(_input_gradient_of_transposed_weight),
    "precision lost on the way": _in_dense(_float16_on_the_way),
    "relative error 1e-10": _in_dense(_slightly_off),
    "cotangent of the wrong dtype": _in_dense(_wrong_dtype),
    "kink taken on the wrong side": _of("activations.relu", activations.relu, _relu_leaks_at_zero),
    "activation for pre-activation": _of(
        "activations.sigmoid", activations.sigmoid, _activation_for_preactivation
    ),
    "not finite when saturated": _of("activations.silu", activations.silu, _not_finite_when_saturated),
    "sign": _of("activations.tanh", activations.tanh, lambda a, da: -activations.tanh.bwd(a, da)),
    "factor two": _of("activations.relu_squared", activations.relu_squared, lambda r, da: r * da),
    "slope forgotten": _of(
        "activations.leaky_relu",
        activations.leaky_relu,
        lambda res, da, *, slope=0.01: activations.leaky_relu.bwd(res, da),
    ),
    "softmax Jacobian by its diagonal": _of("softmax", softmax, _softmax_by_its_diagonal),
    "softmax over another axis": _of("softmax", softmax, _softmax_over_the_last_axis),
    "mask forgotten": _of("log_softmax", log_softmax, _log_softmax_forgets_the_mask),
    "targets assumed to sum to one": _of(
        "softmax_cross_entropy", softmax_cross_entropy, _cross_entropy_assumes_sum_one
    ),
    "label smoothing forgotten": _of(
        "softmax_cross_entropy", softmax_cross_entropy, _cross_entropy_ignores_smoothing
    ),
    "z-loss forgotten": _of("softmax_cross_entropy", softmax_cross_entropy, _cross_entropy_without_z_loss),
    "ignored label counted": _of(
        "softmax_cross_entropy", softmax_cross_entropy, _cross_entropy_counts_ignored
    ),
    "gradient of the targets negated": _of("squared_error", squared_error, _target_gradient_negated),
    "mean instead of sum": _of("squared_error", squared_error, _mean_instead_of_sum),
    "cotangent ignored": _of("squared_error", squared_error, _cotangent_ignored),
    "cotangent without its sign": _of("squared_error", squared_error, _cotangent_without_sign),
    "threshold of another delta": _of("huber", huber, _huber_without_delta),
    "spread of a row taken for a constant": _of("layer_norm", layer_norm, _spread_taken_for_a_constant),
    "positive weight forgotten": _of(
        "sigmoid_cross_entropy", sigmoid_cross_entropy, _positive_weight_forgotten
    ),
    "one small leaf negated in a deep net": _of("mlp", mlp, _mlp_negates_a_bias),
    "update before propagating": _of("mlp", mlp, _mlp_updates_before_propagating),
    "second use of a tied table forgotten": _of("gpt", gpt, _second_use_of_a_tied_table_forgotten),
    "kernel not flipped": _of("conv", conv, _kernel_not_flipped),
    "ends of the padding exchanged": _of("conv", conv, _ends_of_the_padding_exchanged),
    "first entry for the largest": _of("pool.max", pool.max, _first_entry_for_the_largest),
    "padding not counted": _of("pool.average", pool.average, _padding_not_counted),
    "offset forgotten": _of("rms_norm", rms_norm, _offset_forgotten),
    "root mean square taken for a constant": _of(
        "rms_norm", rms_norm, _root_mean_square_taken_for_a_constant
    ),
    "group not centred": _of("group_norm", group_norm, _group_not_centred),
    "variance without a cotangent": _of("batch_norm", batch_norm, _variance_has_no_cotangent),
    "statistics taken for constants": _of("batch_norm", batch_norm, _statistics_taken_for_constants),
    "half of the variance forgotten": _of("frozen_batch_norm", frozen_batch_norm, _half_forgotten),
    "mask of another key": _of("dropout", dropout, _another_mask),
    "kept entries not scaled": _of("dropout", dropout, _kept_entries_not_scaled),
    "repeated ids overwrite": _of("embedding", embedding, _repeated_ids_overwrite),
    "negative ids count from the end": _of("embedding", embedding, _negative_ids_count_from_the_end),
    "first state forgotten": _of("rnn", rnn, _first_state_forgotten),
    "padded steps counted": _of("lstm", lstm, _padded_steps_counted),
    "gates exchanged": _of("lstm", lstm, _input_and_forget_gates_exchanged),
    "final cell without a cotangent": _of("lstm", lstm, _final_cell_has_no_cotangent),
    "other form of the reset gate": _of("gru", gru, _other_form_of_the_reset_gate),
    "update gate inverted": _of("gru", gru, _update_gate_inverted),
    "identity path forgotten": _of("reversible", reversible, _identity_path_forgotten),
    "layers in the order of the forward": _of(
        "reversible_stack", reversible_stack, _layers_in_the_order_of_the_forward
    ),
    "first query head of a group alone": _of(
        "attention", attention, _first_query_head_of_a_group_alone, slow=True
    ),
    "mean over the heads of a group": _of("attention", attention, _mean_of_the_heads_of_a_group, slow=True),
    "scale forgotten": _of("attention", attention, _scale_forgotten_for_the_keys, slow=True),
    "mask forgotten in the backward": _of("attention", attention, _mask_forgotten_in_the_backward, slow=True),
    "window forgotten in the backward": _of(
        "attention", attention, _window_forgotten_in_the_backward, slow=True
    ),
    "sum over the keys forgotten": _of("attention", attention, _sum_over_the_keys_forgotten),
    "soft cap taken for the identity": _of(
        "plain_attention", plain_attention, _soft_cap_taken_for_the_identity, slow=True
    ),
    "bias not summed over the batch": _of(
        "plain_attention", plain_attention, _bias_not_summed_over_the_batch
    ),
    "turned forwards again": _of("rope", rope, _turned_forwards_again),
    "positions from zero": _of("rope", rope, _positions_from_zero, slow=True),
    "pairs of the other kind": _of("rope", rope, _other_pairs, slow=True),
    "gate without its slope": _of("gated_mlp", gated_mlp, _gate_without_its_slope),
    "input reached by one path": _of("gated_mlp", gated_mlp, _input_reached_by_one_path, slow=True),
    "first cotangent for all tokens": _of(
        "linear_cross_entropy", linear_cross_entropy, _first_cotangent_for_all_tokens, slow=True
    ),
    "last chunk dropped": _of("linear_cross_entropy", linear_cross_entropy, _last_chunk_dropped),
    "weights of tokens forgotten": _of(
        "linear_cross_entropy", linear_cross_entropy, _weights_of_the_tokens_forgotten, slow=True
    ),
}
