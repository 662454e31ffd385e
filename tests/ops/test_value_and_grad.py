"""Every model's `value_and_grad` against `jax.value_and_grad` of its loss, all leaves, by the verifier."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_ref
from jax_ref import verify
from manual_bp import models
from tests.cases import MODELS
from tests.close import close

QUICKER = dict.fromkeys(("ladder", "shrinking", "reference", "transforms"), "the ops have theirs")

LONG = {"recurrent", "convnet", "gpt"}
ONE_BATCH = {"batches": "the table has an odd batch and a batch of one"}
"""What is left out of the checks of a model that takes long to compile."""

Rows = Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]
"""A name; what `value_and_grad` takes after the params, the batch or a state and the batch; its options."""


def with_targets(example: Any) -> Rows:
    """An input with labels, with the targets of a regression, or with one label or more of two classes."""
    _, x = example.args
    rng = np.random.default_rng(0)
    apply = functools.partial(jax_ref.models.mlp.apply, **example.static)
    *lead, classes = jax.eval_shape(apply, *example.args).shape
    yield "softmax_cross_entropy", ((x, rng.integers(0, classes, lead)),), example.static
    if example.kind != MODELS["mlp"].examples[0].kind:  # to which the loss is nothing new
        return
    for name in ("squared_error", "huber"):
        yield name, ((x, rng.normal(size=(*lead, classes))),), example.static | {"loss": name}
    targets = rng.integers(0, 2, (*lead, classes)).astype(x.dtype)
    yield "sigmoid_cross_entropy", ((x, targets),), example.static | {"loss": "sigmoid_cross_entropy"}


def with_next(example: Any) -> Rows:
    """A window of text with the characters after its own, behind a state."""
    params, state, ids = example.args
    if example.kind != "gru":  # to which the loss is nothing new
        return
    following = np.random.default_rng(0).integers(0, len(params.embedding.table), ids.shape)
    yield "next", (state, (ids, following)), example.static


def with_labels(example: Any) -> Rows:
    """Images with their labels, behind running statistics."""
    _, state, x = example.args
    if example.kind == "batch_norm":  # to the others the loss is nothing new
        yield "labels", (state, (x, np.random.default_rng(0).integers(0, 3, len(x)))), example.static


def with_targets_of_tokens(example: Any) -> Rows:
    """Tokens with those that follow them, of which some do not count."""
    params, ids, *_ = example.args
    if example.kind != "gpt2":  # to which the loss is nothing new
        return
    targets = np.random.default_rng(0).integers(0, len(params.embedding.table), ids.shape)
    yield "next", ((ids, targets),), example.static | {"ignore_label": 1, "chunk": 4}


BATCHES: dict[str, Callable[[Any], Rows]] = {
    "mlp": with_targets,
    "recurrent": with_next,
    "convnet": with_labels,
    "gpt": with_targets_of_tokens,
}
"""From an example of a model's forward pass to data for its loss, with names and static options."""

CASES = {
    f"{model}-{example.kind}-{name}": (model, example.args[0], data, static)
    for model, batches in BATCHES.items()
    for example in MODELS[model].examples
    if example.lead == MODELS[model].examples[0].lead
    for name, data, static in batches(example)
}


def test_every_model_has_batches():
    assert set(BATCHES) == set(MODELS)


def checked(name, change=lambda value, grads: (value, grads), **skip):
    model, params, data, static = CASES[name]
    by_hand = functools.partial(getattr(models, model).value_and_grad, **static)
    loss = functools.partial(getattr(jax_ref.models, model).loss, **static)
    return verify.check_value_and_grad(
        lambda *args: change(*by_hand(*args)),
        params,
        *data,
        reference=loss,
        skip=QUICKER | (ONE_BATCH if model in LONG else {}) | skip,
    )


REPEATS = {name for name in CASES if name.startswith("mlp") and name.endswith("-softmax_cross_entropy")}
REPEATS -= {"mlp-deep-softmax_cross_entropy"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in REPEATS)) for name in CASES]
)
def test_a_model_has_the_gradient_of_its_loss(name):
    report = checked(name)
    assert report.ok, str(report)


@pytest.mark.parametrize(
    "model", [pytest.param(model, marks=[pytest.mark.slow] * (model != "mlp")) for model in BATCHES]
)
def test_a_mistake_in_the_last_leaf_is_seen(model):
    def doubled(value, grads):
        leaves, tree = jax.tree.flatten(grads)
        return value, jax.tree.unflatten(tree, [*leaves[:-1], 2 * leaves[-1]])

    report = checked(next(name for name in CASES if name.startswith(model)), doubled, diagnosis="it is seen")
    assert [leaf.verdict for leaf in report.leaves] == [*["right"] * (len(report.leaves) - 1), "wrong"]


def test_a_program_as_users_compile_it_finds_the_maxima_of_what_it_computes_twice():
    """Optimised, XLA rounds the input of a pooling otherwise where it computes it anew, and none is equal."""
    rng = np.random.default_rng(0)
    x, labels = jnp.asarray(rng.normal(size=(64, 7, 7, 1))), jnp.asarray(rng.integers(0, 3, 64))
    params = models.convnet.init(jax.random.key(0), (7, 7, 1), ((64,),), (3,), dtype=jnp.float64)
    state = models.convnet.init_state(params)

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 3})
    def by_hand(params):
        return models.convnet.value_and_grad(params, state, (x, labels))[1]

    expected = jax.jit(jax.grad(jax_ref.models.convnet.loss, has_aux=True))(params, state, (x, labels))[0]
    close(by_hand(params), expected, 1e-12)
