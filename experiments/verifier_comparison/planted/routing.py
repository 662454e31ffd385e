"""Mistakes where integers choose: ragged products, messages along edges, means of given length, experts."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from .form import Original, Planted
from .planting import edited, narrow, normal, wide

# A ragged product: each row by the matrix of its group.


def ragged(x, w, groups):
    return jnp.einsum("ni,nio->no", x, w[groups])


def ragged_fwd(x, w, groups):
    y = jnp.einsum("ng,ni,gio->no", _chosen(groups, w), wide(x), wide(w))
    return y.astype(x.dtype), (x, w, groups)


def _chosen(groups, w):
    return jax.nn.one_hot(groups, len(w), dtype=wide(w).dtype)


def ragged_bwd(residuals, dy):
    x, w, groups = residuals
    chosen, dy = _chosen(groups, w), wide(dy)
    dx = jnp.einsum("ng,no,gio->ni", chosen, dy, wide(w))
    return *narrow(x.dtype, dx, jnp.einsum("ng,ni,no->gio", chosen, wide(x), dy)), None


def _overwritten(residuals, dy, dx, dw, _):
    x, w, groups = residuals
    products = wide(x)[:, :, None] * wide(dy)[:, None]
    return dx, jnp.zeros_like(wide(w)).at[groups].set(products).astype(dw.dtype), None


def _tile_lost(residuals, dy, dx, dw, _):
    x, *rest = residuals
    return dx, ragged_bwd((x, *rest), dy.at[len(dy) // 4 * 4 :].set(0))[1], None


def _ragged_args(rng, realistic):
    rows, inner, outer, count = (48, 16, 24, 8) if realistic else (7, 3, 2, 4)
    groups = np.sort(rng.integers(0, count, rows)).astype(np.int32)
    groups[:2] = 0
    groups[-1] = count - 1
    return normal(rng, rows, inner), normal(rng, count, inner, outer) / inner**0.5, groups


# Messages along edges: to each node the sum of weight times what is at the sender.


def messages(x, weight, senders, receivers):
    return jax.ops.segment_sum(weight[:, None] * x[senders], receivers, num_segments=x.shape[0])


def messages_fwd(x, weight, senders, receivers):
    sent = wide(weight)[:, None] * wide(x)[senders]
    return jnp.zeros_like(wide(x)).at[receivers].add(sent).astype(x.dtype), (x, weight, senders, receivers)


def messages_bwd(residuals, dy):
    x, weight, senders, receivers = residuals
    received = wide(dy)[receivers]
    dx = jnp.zeros_like(wide(x)).at[senders].add(wide(weight)[:, None] * received)
    return *narrow(x.dtype, dx, (received * wide(x)[senders]).sum(1)), None, None


def _sent_overwritten(residuals, dy, dx, *others):
    x, weight, senders, receivers = residuals
    share = wide(weight)[:, None] * wide(dy)[receivers]
    return jnp.zeros_like(wide(x)).at[senders].set(share).astype(dx.dtype), *others


def _by_senders(residuals, dy, dx, dweight, *_):
    x, _, senders, _ = residuals
    return dx, (wide(dy)[senders] * wide(x)[senders]).sum(1).astype(dx.dtype), None, None


def _messages_args(rng, realistic):
    nodes, edges, features = (24, 60, 16) if realistic else (5, 8, 3)
    senders, receivers = rng.integers(0, nodes, (2, edges)).astype(np.int32)
    senders[1] = senders[0]
    return normal(rng, nodes, features), normal(rng, edges), senders, receivers


# The mean over the first steps of each sequence, as many as its length says.


def mean_of_steps(x, lengths):
    valid = (jnp.arange(x.shape[1], dtype=lengths.dtype)[None] < lengths[:, None]).astype(x.dtype)
    return jnp.sum(x * valid[..., None], 1) / jnp.maximum(lengths, 1).astype(x.dtype)[:, None]


def mean_of_steps_fwd(x, lengths):
    valid = _valid(x, lengths)
    y = jnp.where(valid, wide(x), 0).sum(1) / _count(x, lengths)[:, 0]
    return y.astype(x.dtype), (jnp.zeros_like(x), lengths)


def _valid(x, lengths):
    return (jnp.arange(x.shape[1], dtype=lengths.dtype)[None] < lengths[:, None])[..., None]


def _count(x, lengths):
    return jnp.maximum(lengths, 1).astype(wide(x).dtype)[:, None, None]


def mean_of_steps_bwd(residuals, dy, *, masked=True, divided=True):
    like, lengths = residuals
    dx = jnp.broadcast_to(wide(dy)[:, None], like.shape)
    dx = dx / _count(like, lengths) if divided else dx / like.shape[1]
    return *narrow(like.dtype, jnp.where(_valid(like, lengths), dx, 0) if masked else dx), None


def _steps_args(rng, realistic):
    batch, time, features = (16, 12, 8) if realistic else (4, 5, 3)
    lengths = rng.integers(1, time + 1, batch).astype(np.int32)
    lengths[:2] = 2, time
    return normal(rng, batch, time, features), lengths


# A mixture of experts: the sum of the experts' products, each times its share of a softmax.


def mixture(x, router, experts):
    gates = jax.nn.softmax(x @ router, axis=-1)
    return jnp.sum(gates[..., None] * jnp.einsum("ni,eio->neo", x, experts), 1)


def mixture_fwd(x, router, experts):
    z = wide(x) @ wide(router)
    e = jnp.exp(z - z.max(1, keepdims=True))
    gates = e / e.sum(1, keepdims=True)
    made = jnp.einsum("ni,eio->neo", wide(x), wide(experts))
    return (gates[..., None] * made).sum(1).astype(x.dtype), (x, router, experts, gates, made)


def _through_softmax(p, dp):
    return p * (dp - (p * dp).sum(1, keepdims=True))


def mixture_bwd(residuals, dy, *, jacobian=_through_softmax, router=True, through=True):
    x, w, experts, gates, made = map(wide, residuals)
    dy = wide(dy)
    dz = jacobian(gates, jnp.einsum("no,neo->ne", dy, made))
    dx = jnp.einsum("ne,no,eio->ni", gates, dy, experts) if through else 0
    dx = dx + (dz @ w.T if router else 0)
    d_experts = jnp.einsum("ne,ni,no->eio", gates, x, dy)
    return narrow(residuals[0].dtype, dx, x.T @ dz, d_experts)


def _without_gates(residuals, dy, dx, dw, _):
    x, _, _, gates, _ = residuals
    d_experts = jnp.einsum("ni,no->io", wide(x), wide(dy))
    return dx, dw, jnp.broadcast_to(d_experts, (gates.shape[1], *d_experts.shape)).astype(dx.dtype)


def _mixture_args(rng, realistic):
    rows, inner, outer, count = (32, 16, 12, 6) if realistic else (5, 3, 2, 4)
    w = normal(rng, inner, count) / inner**0.5
    return normal(rng, rows, inner), w, normal(rng, count, inner, outer) / inner**0.5


ORIGINALS = {
    "ragged product": Original(ragged_fwd, ragged_bwd, ragged, _ragged_args),
    "messages": Original(messages_fwd, messages_bwd, messages, _messages_args),
    "mean of steps": Original(mean_of_steps_fwd, mean_of_steps_bwd, mean_of_steps, _steps_args),
    "mixture of experts": Original(mixture_fwd, mixture_bwd, mixture, _mixture_args),
}

_ragged = partial(Planted, "ragged product", ragged_fwd)
_messages = partial(Planted, "messages", messages_fwd)
_steps = partial(Planted, "mean of steps", mean_of_steps_fwd)
_mixture = partial(Planted, "mixture of experts", mixture_fwd)

MISTAKES = {
    "ragged product: of a group the last row stays": _ragged(
        edited(ragged_bwd, _overwritten), ("conditional",)
    ),
    "ragged product: group 0 is taken for padding": _ragged(
        edited(ragged_bwd, lambda r, dy, dx, dw, _: (jnp.where(r[2][:, None] == 0, 0, dx), dw, None)),
        ("conditional",),
    ),
    "ragged product: the weights of group 0 learn nothing": _ragged(
        edited(ragged_bwd, lambda r, dy, dx, dw, _: (dx, dw.at[0].set(0), None)), ("conditional",)
    ),
    "ragged product: the last rows are in no tile": _ragged(
        edited(ragged_bwd, _tile_lost), ("reduction", "batch", "conditional")
    ),
    "ragged product: dx by the next group": _ragged(
        edited(
            ragged_bwd,
            lambda r, dy, dx, dw, _: (ragged_bwd((r[0], jnp.roll(r[1], -1, 0), r[2]), dy)[0], dw, None),
        ),
        ("input",),
    ),
    "messages: of a sender's the last stays": _messages(
        edited(messages_bwd, _sent_overwritten), ("conditional",)
    ),
    "messages: the weights are forgotten": _messages(
        edited(
            messages_bwd,
            lambda r, dy, dx, dw, *_: (
                messages_bwd((r[0], jnp.ones_like(r[1]), *r[2:]), dy)[0],
                dw,
                None,
                None,
            ),
        ),
        ("input",),
    ),
    "messages: the weights' by the senders' cotangent": _messages(
        edited(messages_bwd, _by_senders), ("input",)
    ),
    "messages: the weights of edges to node 0": _messages(
        edited(messages_bwd, lambda r, dy, dx, dw, *_: (dx, jnp.where(r[3] == 0, 0, dw), None, None)),
        ("conditional", "reduction"),
    ),
    "mean of steps: over all steps": _steps(partial(mean_of_steps_bwd, divided=False), ("value",)),
    "mean of steps: not masked": _steps(partial(mean_of_steps_bwd, masked=False), ("derivative", "constant")),
    "mean of steps: nothing for sequences of two": _steps(
        edited(mean_of_steps_bwd, lambda r, dy, dx, _: (jnp.where(r[1][:, None, None] == 2, 0, dx), None)),
        ("conditional",),
    ),
    "mixture: the softmax's diagonal": _mixture(
        partial(mixture_bwd, jacobian=lambda p, dp: p * (1 - p) * dp), ("reduction",)
    ),
    "mixture: the softmax is summed over the batch": _mixture(
        partial(mixture_bwd, jacobian=lambda p, dp: p * (dp - (p * dp).sum(0, keepdims=True))), ("reduction",)
    ),
    "mixture: the sum of the gates is a constant": _mixture(
        partial(mixture_bwd, jacobian=lambda p, dp: p * dp), ("statistic",)
    ),
    "mixture: x's not through the gates": _mixture(partial(mixture_bwd, router=False), ("path",)),
    "mixture: x's through the gates alone": _mixture(partial(mixture_bwd, through=False), ("path",)),
    "mixture: the experts' without the gates": _mixture(edited(mixture_bwd, _without_gates), ("derivative",)),
    "mixture: expert 2 learns nothing": _mixture(
        edited(mixture_bwd, lambda r, dy, dx, dw, de: (dx, dw, de.at[2].set(0))), ("conditional",)
    ),
}
