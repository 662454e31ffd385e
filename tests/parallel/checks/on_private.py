"""Private gradients: clipped as one by one, noise drawn once for all devices, one sum."""

import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import jax_ref
from jax_ref import private as reference
from manual_bp.models import mlp
from manual_bp.ops import layer_norm
from manual_bp.parallel import private
from tests.close import close
from tests.parallel.meshes import compiled, copies, mesh, on, sent

STATIC: dict[str, Any] = {"activation": "tanh", "loss": "softmax_cross_entropy"}
KEY = jax.random.key(3)
NORM = 3.0


def drawn(examples, *, bias=True, loss="softmax_cross_entropy"):
    """Params and a batch of which some gradients are longer than `NORM` and some are not."""
    params = mlp.init(jax.random.key(0), [7, 5, 3], bias=bias, dtype=jnp.float64)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda w: w + jnp.asarray(rng.normal(size=w.shape)) / 3, params)
    x = jnp.asarray(rng.normal(size=(examples, 7)) * np.exp(rng.normal(size=(examples, 1))))
    if loss == "softmax_cross_entropy":
        return params, (x, jnp.asarray(rng.integers(3, size=examples)))
    return params, (x, jnp.asarray(rng.normal(size=(examples, 3))))


def step_on(n, **options):
    static = STATIC | {"max_norm": NORM, "noise_multiplier": 0.0} | options
    step = partial(private.value_and_grad, mlp, axis="d", **static)
    return on(mesh(d=n), step, (P(), P("d"), P()), P())


def expected(params, batch, **options):
    static = STATIC | {"max_norm": NORM, "noise_multiplier": 0.0} | options
    return reference.value_and_grad(jax_ref.models.mlp.loss, params, batch, KEY, **static)


@pytest.mark.parametrize(
    ("n", "each", "bias", "options"),
    [
        (4, 3, True, {"noise_multiplier": 0.7}),
        *(
            pytest.param(*c, marks=pytest.mark.slow)
            for c in [
                (3, 1, False, {"loss": "squared_error", "max_norm": 0.3}),
                (2, 5, True, {"max_norm": 1e9}),
                (1, 4, True, {"max_norm": 1e-9, "noise_multiplier": 1.0}),
            ]
        ),
    ],
)
def test_it_is_the_mean_of_clipped_gradients_with_noise(n, each, bias, options):
    params, batch = drawn(n * each, bias=bias, loss=options.get("loss", "softmax_cross_entropy"))
    found = step_on(n, **options)(params, batch, KEY)
    close(found, expected(params, batch, **options), 1e-12)
    for leaf in jax.tree.leaves(found[1]):
        for copy in copies(leaf):
            np.testing.assert_array_equal(copy, copies(leaf)[0])


def test_some_are_clipped_and_some_are_not():
    params, (x, targets) = drawn(12)
    loss = partial(jax_ref.models.mlp.loss, **STATIC)
    grads = jax.vmap(lambda x, t: jax.grad(loss)(params, (x[None], t[None])))(x, targets)
    norms = np.sqrt(sum(np.sum(np.square(np.asarray(g)).reshape(12, -1), 1) for g in jax.tree.leaves(grads)))
    assert 0 < np.sum(norms > NORM) < 12


@pytest.mark.slow
def test_without_an_axis_it_is_one_device():
    params, batch = drawn(5)
    static: dict[str, Any] = STATIC | {"max_norm": 0.5, "noise_multiplier": 0.3}
    found = private.value_and_grad(mlp, params, batch, KEY, axis=None, **static)
    close(found, expected(params, batch, max_norm=0.5, noise_multiplier=0.3), 1e-12)


def test_noise_is_as_large_as_it_is_said_to_be():
    noise = private.drawn(KEY, {"a": jnp.zeros((100, 100)), "b": jnp.zeros((100, 100))}, 3.0)
    for leaf in noise.values():
        assert abs(float(jnp.std(leaf)) - 3) < 0.1
    assert abs(float(np.corrcoef(noise["a"].ravel(), noise["b"].ravel())[0, 1])) < 0.05


def test_one_sum_of_params_and_cost():
    params, batch = drawn(8)
    (one,) = sent(compiled(step_on(4, noise_multiplier=1.0), params, batch, KEY))
    numbers = sum(leaf.size for leaf in jax.tree.leaves(params)) + 1
    assert (one.kind, one.bytes) == ("all-reduce", 2 * 3 / 4 * 8 * numbers)


def test_a_key_per_device_is_refused():
    params, batch = drawn(4)

    def step(params, batch):
        key = jax.random.fold_in(KEY, jax.lax.axis_index("d"))
        return private.value_and_grad(
            mlp, params, batch, key, axis="d", max_norm=1.0, noise_multiplier=1.0, **STATIC
        )

    with pytest.raises(ValueError, match="private: key varies over mesh axis 'd'; expected the same on all"):
        on(mesh(d=4), step, (P(), P("d")), P())(params, batch)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_norm": 0.0}, "private: max_norm was 0.0; expected a positive number"),
        (
            {"noise_multiplier": -1},
            "private: noise_multiplier was -1; expected a number that is not negative",
        ),
        ({"loss": "squared_eror"}, "private: loss was 'squared_eror'; did you mean 'squared_error'?"),
    ],
)
def test_options_that_cannot_be(options, sentence):
    params, batch = drawn(2)
    static = STATIC | {"max_norm": 1.0, "noise_multiplier": 0.0} | options
    with pytest.raises(ValueError, match="^" + re.escape(sentence)):
        private.value_and_grad(mlp, params, batch, KEY, axis=None, **static)


def test_another_op_is_refused():
    class Norm:
        fwd = staticmethod(layer_norm.fwd)

        @staticmethod
        def bwd(params, res, dy, *, tap):
            return tap(layer_norm, params, res, dy)

    _, (x, targets) = drawn(2)
    params = layer_norm.init(KEY, 7, dtype=jnp.float64)
    expected = r"^private: model has params of manual_bp\.ops\.layer_norm; expected dense layers alone$"
    with pytest.raises(TypeError, match=expected):
        private.value_and_grad(Norm, params, (x, targets), KEY, axis=None, max_norm=1.0, noise_multiplier=0.0)
