"""Loss scaling: small gradients arrive, a step that overflows changes nothing, and the scale is kept."""

import contextlib
import io
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.common import errors
from experiments.train import epoch, job, loss_scale
from experiments.train.engines import ENGINES
from experiments.train.models import mlp as recipes
from experiments.train.recipe import Recipe
from manual_bp.models import mlp

RECIPE = recipes.recipe(
    recipes.Settings(dtype="float16", loss="squared_error", widths=(64, 5, 10)),
    recipes.load(recipes.Settings()),
)


@pytest.fixture(autouse=True)
def as_users_run_it():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def batch(dtype, y_off, size=3):
    """Inputs, and targets that are all `y_off`."""
    x = jnp.asarray(np.random.default_rng(0).uniform(0.5, 1, (size, 64)), dtype)
    return x, jnp.full((size, 10), y_off, dtype)


def small(factor):
    """Float32 params whose last layer passes little of the gradient on."""
    params = mlp.init(jax.random.key(0), (64, 5, 10), dtype=jnp.float32)
    first, last = params.layers
    first = first._replace(w=jnp.abs(first.w))  # no neuron is dead
    return mlp.Params((first, last._replace(w=factor * jnp.abs(last.w))))


@pytest.mark.parametrize("name", ENGINES)
def test_a_gradient_that_underflows_arrives_with_the_scale(name):
    engine, params = ENGINES[name](RECIPE), small(1e-5)

    def first(dtype, scaling):
        """The gradient of the first layer's weights."""
        gradient = jax.jit(lambda *args: engine.value_and_grad(*args, **scaling)[1])
        return gradient(params, None, batch(dtype, -3e-4)).layers[0].w

    assert not np.any(first(jnp.float16, {}))  # what it is about: nothing is left of it
    scale = jnp.float32(2**15)
    scaled = np.asarray(loss_scale.unscaled(first(jnp.float16, {"dcost": scale}), scale))
    exact = np.asarray(first(jnp.float32, {}))
    assert np.all(exact > 0)
    assert np.linalg.norm(scaled - exact) < 0.02 * np.linalg.norm(exact)


def one_step(name, params, y_off, steps=1):
    """The states before and after a round of equal steps on one batch."""
    arrays = batch(jnp.float16, y_off)
    fixed = Recipe(
        **{
            field: getattr(RECIPE, field)
            for field in ("pair", "reference", "title", "init", "static", "metrics", "shown")
        },
        arrays=lambda split: split,
        count=lambda arrays: 3,
        batch=lambda arrays, rows, key: arrays,
    )
    optimizer = optax.adamw(1e-3)
    run = epoch.make_round(ENGINES[name](fixed), fixed, optimizer, batch_size=3, steps=steps)
    state = epoch.State(params, optimizer.init(params), None, loss_scale.start())
    before = jax.tree.map(np.array, state)
    after, losses = run(state, arrays, jax.random.key(0), np.uint32(1))
    assert np.all(np.isfinite(losses))
    return before, jax.tree.map(np.array, after)


@pytest.mark.parametrize("name", ENGINES)
def test_a_step_that_overflows_changes_nothing_bit_for_bit(name):
    params = small(1.0)
    first = params.layers[0]._replace(b=jnp.full(5, -0.0, jnp.float32))
    before, after = one_step(name, mlp.Params((first, params.layers[1])), 30.0)
    for old, new in zip(jax.tree.leaves(before[:3]), jax.tree.leaves(after[:3]), strict=True):
        assert old.tobytes() == new.tobytes()
    assert after.scale == (2**14, 0, 1)


@pytest.mark.parametrize("name", ENGINES)
def test_it_goes_down_until_steps_are_taken(name):
    before, after = one_step(name, small(1.0), 30.0, steps=12)
    scale, good, skipped = after.scale
    assert 0 < skipped < 12
    assert good == 12 - skipped
    assert scale == 2.0 ** (15 - skipped)
    assert np.any(before.params.layers[0].w != after.params.layers[0].w)
    assert after.opt_state[0].count == good


def test_it_grows_again_within_its_limits():
    adjusted, true, false = jax.jit(loss_scale.adjusted), jnp.bool(True), jnp.bool(False)
    state = loss_scale.LossScale(jnp.float32(8), jnp.int32(loss_scale.PATIENCE - 2), jnp.int32(3))
    state = adjusted(state, true)
    assert state == (8, loss_scale.PATIENCE - 1, 3)
    assert adjusted(state, true) == (16, 0, 3)
    assert adjusted(state, false) == (4, 0, 4)
    for limit, good in ((loss_scale.LARGEST, true), (loss_scale.SMALLEST, false)):
        assert adjusted(state._replace(scale=jnp.float32(limit)), good).scale == limit
        assert np.isfinite(np.float16(limit))
        assert np.float16(limit) == limit


def train(folder, *arguments):
    """The figures of the job, run in this process."""
    fixed = "--dtype float16 --loss squared_error --widths 64 8 10 --batch-size 1 --round-steps 30 --seed 3"
    fixed = [*fixed.split(), "--schedule", "constant", "--learning-rate", "0.02"]
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(io.StringIO()):
        patched.setattr(sys, "argv", ["train", *fixed, "--out", str(folder), *arguments])
        with pytest.raises(SystemExit) as ended:
            errors.run(job.main)
    jax.config.update("jax_enable_x64", True)
    assert ended.value.code == 0
    return json.loads((folder / "metrics.json").read_text())


def states(folder):
    """The checksum of what a run has kept last, the scale included."""
    return json.loads((folder / "checkpoints" / "2" / "record.json").read_text())["states"]


@pytest.mark.parametrize("engine", ["manual", pytest.param("both", marks=pytest.mark.slow)])
def test_a_resumed_run_has_the_same_scale_and_bits(engine, tmp_path):
    whole = train(tmp_path / "whole", "--engine", engine, "--epochs", "2")
    train(tmp_path / "parts", "--engine", engine, "--epochs", "1")
    parts = train(tmp_path / "parts", "--engine", engine, "--epochs", "2", "--resume")
    assert states(tmp_path / "parts") == states(tmp_path / "whole")
    first, last = (whole["history"][at]["engines"] for at in (0, -1))
    for name in last:
        kept = parts["history"][-1]["engines"][name]
        assert {**kept, "us_per_step": 0} == {**last[name], "us_per_step": 0}
        assert first[name]["skipped_steps"] > 0  # so that there is something to keep
        assert first[name]["loss_scale"] < loss_scale.LARGEST
        assert last[name]["train_loss"] < first[name]["train_loss"]


@pytest.mark.slow
def test_float16_trains_as_float32_does(tmp_path):
    accuracies = {}
    for dtype in ("float16", "float32"):
        with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(io.StringIO()):
            patched.setattr(sys, "argv", ["train", "--dtype", dtype, "--out", str(tmp_path / dtype)])
            with pytest.raises(SystemExit):
                errors.run(job.main)
        engines = json.loads((tmp_path / dtype / "metrics.json").read_text())["engines"]
        accuracies[dtype] = [engines[name]["test_accuracy"] for name in ENGINES]
    jax.config.update("jax_enable_x64", True)
    assert np.allclose(accuracies["float16"], accuracies["float32"], atol=0.01)
