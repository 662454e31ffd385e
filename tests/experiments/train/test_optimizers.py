"""Optimisers of the main job, with learning rates of single weights out of a file."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.common.errors import UserError
from experiments.train import optimizers
from experiments.train import rates as rates_
from manual_bp.models import mlp


def test_every_optimizer_steps():
    start: Any = mlp.init(jax.random.key(0), [3, 2], dtype=jnp.float32)
    for name in optimizers.OPTIMIZERS:
        with jax.numpy_dtype_promotion("standard"):
            optimizer = optimizers.build(
                name, 0.1, schedule="constant", steps=1, weight_decay=0.1, rates=None
            )
            updates: Any = optimizer.update(start, optimizer.init(start), start)[0]
        assert all(np.all(np.isfinite(u)) for u in jax.tree.leaves(updates))
        assert np.any(updates.layers[0].w)


@pytest.mark.parametrize(("clip_norm", "factor"), [(None, 1), (1e9, 1), (0.5, 0.1)])
def test_a_gradient_that_is_too_long_is_made_shorter(clip_norm, factor):
    """3, 4 and 0, 0 are of norm 5 together."""
    grads = {"a": jnp.array([3.0, 4.0]), "b": jnp.zeros(2)}
    optimizer = optimizers.build(
        "sgd", 1.0, schedule="constant", steps=1, weight_decay=0.0, rates=None, clip_norm=clip_norm
    )
    updates: Any = optimizer.update(grads, optimizer.init(grads), grads)[0]
    np.testing.assert_allclose(updates["a"], [-3 * factor, -4 * factor], rtol=1e-6)
    assert not np.any(updates["b"])


def test_rates_freeze_and_scale_single_weights(tmp_path):
    start: Any = mlp.init(jax.random.key(0), [3, 2], dtype=jnp.float32)
    w = np.array([[1.0, 0.0], [0.5, 1.0], [2.0, 1.0]])
    np.savez(tmp_path / "rates.npz", **{"layers.0.w": w, "layers.0.b": np.ones(2)})
    rates = rates_.read(str(tmp_path / "rates.npz"), start)
    optimizer = optimizers.build("sgd", 0.1, schedule="constant", steps=1, weight_decay=0.0, rates=rates)
    grads = jax.tree.map(jnp.ones_like, start)
    updates: Any = optimizer.update(grads, optimizer.init(start), start)[0]
    assert np.allclose(updates.layers[0].w, -0.1 * w)
    moved: Any = optax.apply_updates(start, updates)
    assert moved.layers[0].w[0, 1] == start.layers[0].w[0, 1]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"layers.0.w": np.ones((3, 2))}, "has no array layers.0.b"),
        ({"layers.0.w": np.ones((2, 3)), "layers.0.b": np.ones(2)}, "has shape"),
        ({"layers.0.w": np.full((3, 2), np.nan), "layers.0.b": np.ones(2)}, "not finite"),
        ({"layers.0.w": np.ones((3, 2)), "layers.0.b": np.ones(2), "x": np.ones(1)}, "of no param: x"),
    ],
)
def test_bad_rates_files(tmp_path, arrays, message):
    np.savez(tmp_path / "rates.npz", **arrays)
    with pytest.raises(UserError, match=message):
        rates_.read(str(tmp_path / "rates.npz"), mlp.init(jax.random.key(0), [3, 2]))
