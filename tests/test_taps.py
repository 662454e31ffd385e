"""Taps of a model's backward pass: the activation and the delta of every layer, and what is made of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_ref
from manual_bp import losses, taps
from manual_bp.models import convnet, gpt, mlp, recurrent
from manual_bp.ops import activations, batch_norm, conv, dense, embedding, layer_norm, rnn
from tests.close import close

STATIC = {"activation": "tanh", "output_activation": "silu"}
RNG = np.random.default_rng(0)
X, TARGETS = jnp.asarray(RNG.normal(size=(7, 5))), jnp.asarray(RNG.normal(size=(7, 3)))


@pytest.fixture(scope="module")
def params():
    made = mlp.init(jax.random.key(0), [5, 4, 6, 3], dtype=jnp.float64)
    return jax.tree.map(lambda p: p + 0.1, made)  # biases that are not zero


def backward(params, x, targets, tap) -> Any:
    """The backward pass of the mean squared error with a tap."""
    y, res = mlp.fwd(params, x, **STATIC)
    _, dy = losses.mean("squared_error", y, targets)
    return mlp.bwd(params, res, dy, tap=tap, **STATIC)


def loss(params, x, targets):
    return jax_ref.models.mlp.loss(params, (x, targets), loss="squared_error", **STATIC)


def test_activations_and_deltas_are_those_of_every_layer(params):
    kept, dx = backward(params, X, TARGETS, taps.keep)
    assert kept._fields == mlp.Params._fields
    assert all(tap.op is dense for tap in kept.layers)

    def by_autodiff(shifts):
        """The loss with each layer's z moved: its gradient at zero are the deltas."""
        a, seen = X, []
        for k, (layer, shift) in enumerate(zip(params.layers, shifts, strict=True)):
            seen.append(a)
            name = STATIC["activation"] if k < 2 else STATIC["output_activation"]
            a = getattr(jax_ref.ops.activations, name)(a @ layer.w + layer.b[None] + shift)
        return jnp.mean(jnp.sum((a - TARGETS) ** 2, -1) / 2), seen

    zeros = [jnp.zeros((7, layer.b.size)) for layer in params.layers]
    deltas, seen = jax.grad(by_autodiff, has_aux=True)(zeros)
    for k, (_, kept_params, activation, delta) in enumerate(kept.layers):
        close(activation, seen[k])
        close(delta, deltas[k], 1e-12)
        close(kept_params, params.layers[k])
    close(dx, jax.grad(loss, 1)(params, X, TARGETS), 1e-12)


def test_the_gradient_and_that_of_each_example_are_made_of_taps(params):
    kept, _ = jax.jit(lambda p: backward(p, X, TARGETS, taps.keep))(params)  # taps leave jit
    plain, _ = backward(params, X, TARGETS, taps.plain)
    close(plain, jax.grad(loss)(params, X, TARGETS), 1e-12)
    rebuilt = [
        tap.op.bwd(tap.params, tap.residuals, tap.d_output, **dict(tap.static))[0] for tap in kept.layers
    ]
    close(mlp.Params(tuple(rebuilt)), plain, 1e-15)

    each = jax.vmap(lambda x, t: jax.grad(loss)(params, x[None], t[None]))(X, TARGETS)
    for tap, layer in zip(kept.layers, each.layers, strict=True):
        a, delta = tap.residuals, 7 * tap.d_output  # without the mean's 1/B
        close(jnp.einsum("bi,bo->bio", a, delta), layer.w, 1e-12)
        close(delta, layer.b, 1e-12)


def test_a_tap_of_ones_own_reduces_at_once(params):
    def norms(op, params, residuals, d_output, **static):
        """The squared norms of the examples' gradients, in place of the layers'."""
        _, da = op.bwd(params, residuals, d_output, **static)
        return jnp.sum(d_output**2, -1) * (1 + jnp.sum(residuals**2, -1)), da

    found, dx = jax.jit(lambda p: backward(p, X, TARGETS, norms))(params)
    each = jax.vmap(lambda x, t: jax.grad(loss)(params, x[None], t[None]))(X, TARGETS)
    expected = [sum(jnp.sum(g.reshape(7, -1) ** 2, 1) for g in layer) / 49 for layer in each.layers]
    close(list(found.layers), expected, 1e-12)
    close(dx, backward(params, X, TARGETS, taps.plain)[1], 1e-15)


def test_taps_stack_under_scan_and_vmap():
    w = dense.init(jax.random.key(0), 5, 5, dtype=jnp.float64)
    stacked = jax.tree.map(lambda p: jnp.stack([p, 2 * p, -p]), w)

    def forward(x, layer):
        z, res_dense = dense.fwd(layer, x)
        a, res_tanh = activations.tanh.fwd(z)
        return a, (res_dense, res_tanh)

    def reverse(da, layer_and_res):
        layer, (res_dense, res_tanh) = layer_and_res
        dz = activations.tanh.bwd(res_tanh, da)
        tap, dx = taps.keep(dense, layer, res_dense, dz)
        return dx, tap

    y, res = jax.lax.scan(forward, X, stacked)
    dx, kept = jax.lax.scan(reverse, jnp.ones_like(y), (stacked, res), reverse=True)
    assert kept.op is dense
    assert kept.residuals.shape == kept.d_output.shape == (3, 7, 5)
    assert dx.shape == X.shape
    one_by_one = jax.vmap(lambda x, d: taps.keep(dense, w, x, d)[0], out_axes=0)(X, X)
    assert one_by_one.d_output.shape == (7, 5)


class _Scale:
    """An op whose only cotangent is that of its params, bare, and that has a static option."""

    fwd = staticmethod(lambda params, ids, *, power: (params.w[ids] ** power, ids))
    bwd = staticmethod(
        lambda params, ids, dy, *, power: dense.Params(
            jnp.zeros_like(params.w).at[ids].add(power * params.w[ids] ** (power - 1) * dy), None
        )
    )


def test_a_single_cotangent_and_static_options():
    params, ids = dense.Params(X, None), jnp.array([1, 1, 4])
    d_output = jnp.ones((3, 5))
    close(taps.plain(_Scale, params, ids, d_output, power=2), _Scale.bwd(params, ids, d_output, power=2))
    tap = jax.jit(lambda p: taps.keep(_Scale, p, ids, d_output, power=2))(params)
    assert isinstance(tap, taps.Tap)
    assert tap.static == (("power", 2),)
    close(tap.op.bwd(tap.params, tap.residuals, tap.d_output, **dict(tap.static)).w,
          _Scale.bwd(params, ids, d_output, power=2).w)  # fmt: skip


def test_taps_of_a_recurrent_network_are_at_every_op_and_make_its_gradient():
    widths: tuple[int, ...] = (2, 3, 4)
    static: dict[str, Any] = {"cell": "rnn"}
    params = recurrent.init(jax.random.key(0), 5, widths, dtype=jnp.float64, **static)
    state = recurrent.zero_state(7, widths, dtype=jnp.float64, **static)
    ids, following = jnp.asarray(RNG.integers(0, 5, (2, 7, 3)))

    @jax.jit
    def both() -> Any:
        (logits, after), res = recurrent.fwd(params, state, ids, **static)
        _, dlogits = losses.mean("softmax_cross_entropy", logits, following)
        d_output = dlogits, jax.tree.map(jnp.zeros_like, after)
        kept: Any = recurrent.bwd(params, res, d_output, tap=taps.keep, **static)[0]
        made = [taps.plain(tap.op, *list(tap)[1:]) for tap in (kept.embedding, *kept.layers, kept.head)]
        _, expected = recurrent.value_and_grad(params, state, (ids, following), **static)
        return kept, recurrent.Params(made[0], (made[1][0], made[2][0]), made[3][0]), expected

    kept, rebuilt, expected = both()
    assert [tap.op for tap in (kept.embedding, *kept.layers, kept.head)] == [embedding, rnn, rnn, dense]
    close(rebuilt, expected, 1e-12)


def test_taps_of_a_convolutional_network_are_at_every_op_and_make_its_gradient():
    params = convnet.init(jax.random.key(0), (5, 4, 2), ((3, 3), (5,)), (3,), dtype=jnp.float64)
    state = convnet.init_state(params)
    x, labels = jnp.asarray(RNG.normal(size=(7, 5, 4, 2))), jnp.asarray(RNG.integers(0, 3, 7))

    @jax.jit
    def both():
        (y, after), res = convnet.fwd(params, state, x)
        _, dy = losses.mean("softmax_cross_entropy", y, labels)
        kept, *_ = convnet.bwd(params, res, (dy, jax.tree.map(jnp.zeros_like, after)), tap=taps.keep)
        made = jax.tree.map(
            lambda tap: taps.plain(tap.op, *list(tap)[1:])[0], kept, is_leaf=lambda t: isinstance(t, taps.Tap)
        )
        return kept, made

    kept, made = both()
    assert [[tap.op for tap in layer] for block in kept.blocks for layer in block] == [[conv, batch_norm]] * 3
    assert [tap.op for tap in kept.head.layers] == [dense]
    expected, _ = jax.jit(jax.grad(jax_ref.models.convnet.loss, has_aux=True))(params, state, (x, labels))
    close(made, expected, 1e-12)


def test_taps_of_a_decoder_are_at_every_op_of_each_layer_and_at_both_uses_of_a_tied_table():
    form: dict[str, Any] = {"layers": 2, "width": 4, "heads": 2, "hidden": 3, "context": 3}
    params = gpt.init(jax.random.key(0), 5, dtype=jnp.float64, bias=False, **form)
    ids, following = jnp.asarray(RNG.integers(0, 5, (2, 7, 3)))

    @jax.jit
    def both() -> Any:
        logits, res = gpt.fwd(params, ids, heads=2)
        _, dlogits = losses.mean("softmax_cross_entropy", logits, following)
        kept: Any = gpt.bwd(params, res, dlogits, heads=2, tap=taps.keep)

        def made(tap: Any) -> Any:
            cotangents = tap.op.bwd(tap.params, tap.residuals, tap.d_output, **dict(tap.static))
            return cotangents if isinstance(cotangents, embedding.Params) else cotangents[0]

        blocks = jax.tree.map(jax.vmap(made), kept.blocks, is_leaf=lambda t: isinstance(t, taps.Tap))
        both = made(kept.embedding).table + made(kept.head).w.T
        rebuilt = gpt.Params(embedding.Params(both), made(kept.positions), blocks, made(kept.norm), None)
        return kept, rebuilt, gpt.value_and_grad(params, (ids, following), heads=2)[1]

    kept, rebuilt, expected = both()
    blocks = kept.blocks
    found = [*blocks[:-1], *blocks.mlp, kept.embedding, kept.positions, kept.norm, kept.head]
    ops = [layer_norm, *[dense] * 4, layer_norm, dense, dense, embedding, embedding, layer_norm, dense]
    assert [tap.op for tap in found] == ops
    assert all(tap.d_output.shape[:3] == (2, 7, 3) for tap in found[:8])
    close(rebuilt, expected, 1e-12)
