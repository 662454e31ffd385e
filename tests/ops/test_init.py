"""What `init` makes: arrays of their own, which can be donated, and of the dtype asked for."""

import importlib
import pkgutil

import jax
import jax.numpy as jnp
import pytest

import manual_bp.models
import manual_bp.ops
from manual_bp.models import convnet, gpt, mlp, recurrent
from manual_bp.ops import (
    batch_norm,
    conv,
    dense,
    embedding,
    gated_mlp,
    group_norm,
    gru,
    layer_norm,
    linear_cross_entropy,
    lstm,
    rms_norm,
    rnn,
)

KEY = jax.random.key(0)

MADE = {
    batch_norm: (3,),
    conv: ((2,), 3, 3),
    dense: (3, 3),
    embedding: (3, 3),
    gated_mlp: (3, 3),
    group_norm: (3,),
    gru: (3, 3),
    layer_norm: (3,),
    linear_cross_entropy: (3, 3),
    lstm: (3, 3),
    rms_norm: (3,),
    rnn: (3, 3),
    mlp: ([3, 3, 3],),
    convnet: ((4, 4, 3), ((3, 3),), (3, 3)),
    recurrent: (3, (3, 3, 3)),
}
"""The arguments of an `init` behind the key, with widths that are all the same."""


def made(module, dtype=jnp.float32):
    """What the `init` of an op or a model makes."""
    if module is gpt:
        return gpt.init(KEY, 3, layers=2, width=4, heads=2, context=3, dtype=dtype)
    return module.init(KEY, *MADE[module], dtype=dtype)


EVERY = [*MADE, gpt]
STATES = {
    "convnet": lambda: convnet.init_state(convnet.init(KEY, *MADE[convnet])),
    "recurrent": lambda: recurrent.zero_state(3, (3, 3, 3)),
}


def test_every_init_is_asked():
    packages = (manual_bp.ops, manual_bp.models)
    found = {
        importlib.import_module(f"{package.__name__}.{module.name}")
        for package in packages
        for module in pkgutil.iter_modules(package.__path__)
    }
    with_init = {module for module in found if hasattr(module, "init")}
    assert with_init - set(EVERY) <= {importlib.import_module("manual_bp.ops.frozen_batch_norm")}


@pytest.mark.parametrize("module", EVERY, ids=lambda module: module.__name__.rpartition(".")[2])
def test_params_are_arrays_of_their_own_and_can_be_donated(module):
    params = made(module)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}
    assert {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(lambda: made(module, jnp.bfloat16)))} == {
        jnp.dtype(jnp.bfloat16)
    }
    _own_buffers(params)


@pytest.mark.parametrize("name", STATES)
def test_so_are_first_states(name):
    _own_buffers(STATES[name]())


def _own_buffers(tree):
    """No buffer is in two leaves: to donate one twice is an error."""
    leaves = jax.tree.leaves(tree)
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)
