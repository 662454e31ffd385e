"""Five notes, one gradient: every form against autodiff and against the others."""

from typing import Any

import jax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manual_bp.models import mlp
from manual_bp.textbook import columns, four_equations, index_and_vector_forms, matrix_form, paths, two_passes
from manual_bp.textbook.columns import Network
from tests.textbook.forms import SINGLE
from tests.textbook.networks import (
    BOUND,
    HEADS,
    LAYERS,
    WIDTHS,
    W,
    X,
    Y,
    batch,
    error,
    network,
    oracle,
    widths,
    x,
    y,
)

MLP = {
    "quadratic": {"output_activation": "sigmoid", "loss": "squared_error"},
    "cross_entropy": {"output_activation": "identity", "loss": "softmax_cross_entropy"},
}


def _unsaturated(layers: Network) -> Network:
    """Smaller weights: where tanh is saturated, the notes' 1 - a^2 has few digits."""
    return jax.tree.map(lambda p: p / 3, layers)


def _one_gradient(data: st.DataObject, depth: int, head: str) -> None:
    shape = data.draw(widths(depth))
    seed = data.draw(st.integers(0, 2**31))
    activation = data.draw(st.sampled_from(["sigmoid", "tanh"]))
    names = {"activation": activation, **HEADS[head]}
    layers = _unsaturated(network(shape, seed))
    X, Y = batch(shape, 4, seed)
    x, y = X[:, 0], Y[:, 0]

    wanted = jax.jit(lambda layers: oracle(layers, x, y, **names))(layers)
    in_loops = index_and_vector_forms.index_form(layers, x, y, **names)  # too long a program to compile
    assert error(in_loops, wanted) <= BOUND, "002 index"
    others = {name: form for name, form in SINGLE.items() if "index" not in name}
    all_forms = jax.jit(lambda layers: {name: form(layers, x, y, **names) for name, form in others.items()})
    for name, found in all_forms(layers).items():
        assert error(found, wanted) <= BOUND, name

    mean = jax.jit(lambda layers: oracle(layers, X, Y, **names))
    found = jax.jit(lambda layers: index_and_vector_forms.batch_form(layers, X, Y, **names))(layers)
    assert error(found, mean(layers)) <= BOUND, "002 batch"
    rows = (columns.rows(X), columns.rows(Y))
    options: Any = {"activation": activation, **MLP[head]}
    engine = jax.jit(lambda params: mlp.value_and_grad(params, rows, **options)[1])
    found = columns.from_mlp(engine(columns.to_mlp(layers)))
    assert error(found, mean(layers)) <= BOUND, "mlp"

    plain = _unsaturated(network(shape, seed, bias=False))
    W = tuple(W for W, _ in plain)
    found = jax.jit(lambda W: matrix_form.batch_gradient(W, X, Y, **names))(W)
    wanted = tuple(4 * layer.W for layer in mean(plain))  # of the sum, not the mean
    assert error(found, wanted) <= BOUND, "000"


@pytest.mark.parametrize(("depth", "head"), [(1, "quadratic"), (2, "cross_entropy"), (3, "quadratic")])
@settings(max_examples=1)
@given(data=st.data())
def test_all_forms_are_one_gradient(depth, head, data):
    _one_gradient(data, depth, head)


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("depth", range(1, 6))
@settings(max_examples=20)
@given(data=st.data())
def test_all_forms_are_one_gradient_at_length(depth, head, data):
    _one_gradient(data, depth, head)


@pytest.mark.parametrize("head", HEADS)
def test_index_and_path_form_work_under_jit(head):
    for form in (index_and_vector_forms.index_form, paths.gradient):
        found = jax.jit(lambda layers, form=form: form(layers, x, y, **HEADS[head]))(LAYERS)
        assert error(found, oracle(LAYERS, x, y, **HEADS[head])) <= BOUND


OTHER_HEADS = {
    "softmax with squared error": {"activation": "relu", "output": "softmax", "cost": "quadratic"},
    "mean of squares": {"activation": "identity", "output": "identity", "cost": "mean_squares"},
    "tanh": {"activation": "tanh", "output": "tanh", "cost": "quadratic"},
    "sigmoid with cross-entropy": {"activation": "sigmoid", "output": "sigmoid", "cost": "cross_entropy"},
}


@pytest.mark.parametrize("head", OTHER_HEADS)
def test_other_outputs_and_costs(head):
    """Softmax with the squared error needs the whole Jacobian; relu and identity have their own rules."""
    names = OTHER_HEADS[head]
    wanted = oracle(LAYERS, x, y, **names)
    for form in (two_passes.gradient, paths.gradient, four_equations.gradient):
        assert error(form(LAYERS, x, y, **names), wanted) <= BOUND
    plain = oracle(network(WIDTHS, bias=False), x, y, **names)
    assert error(matrix_form.gradient(W, x, y, **names), tuple(layer.W for layer in plain)) <= BOUND


@pytest.mark.parametrize("module", [two_passes, index_and_vector_forms, four_equations])
def test_the_gradient_of_a_batch_is_the_mean_of_single_ones(module):
    batch_gradient = {
        two_passes: two_passes.total_gradient,
        index_and_vector_forms: index_and_vector_forms.batch_form,
        four_equations: four_equations.mean_gradient,
    }[module]
    singles = [module.gradient(LAYERS, X[:, k], Y[:, k], **HEADS["quadratic"]) for k in range(6)]
    averaged = jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]) / 6, *singles)
    assert error(batch_gradient(LAYERS, X, Y), averaged) <= BOUND
    assert error(averaged, oracle(LAYERS, X, Y)) <= BOUND
