"""Five notes, one gradient; and every property that each of them states."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jax_ref.textbook
from experiments.train.rates import scale_by
from manual_bp.models import mlp
from manual_bp.textbook import columns, four_equations, index_and_vector_forms, matrix_form, paths, two_passes
from manual_bp.textbook.columns import Layer, Network
from manual_bp.textbook.functions import COSTS, OUTPUTS
from tests.textbook.networks import HEADS, batch, error, network, oracle, widths

BOUND = 1e-13
MLP = {
    "quadratic": {"output_activation": "sigmoid", "loss": "squared_error"},
    "cross_entropy": {"output_activation": "identity", "loss": "softmax_cross_entropy"},
}


def _augmented(layers: Network, x: jax.Array, y: jax.Array, **names: Any) -> Network:
    augmented = tuple(map(index_and_vector_forms.augment, layers))
    gradient = index_and_vector_forms.augmented_form(augmented, x, y, **names)
    return tuple(map(index_and_vector_forms.split, gradient))


SINGLE = {
    "001": two_passes.gradient,
    "002 index": index_and_vector_forms.index_form,
    "002 vector": index_and_vector_forms.gradient,
    "002 augmented": _augmented,
    "003 paths": paths.gradient,
    "004": four_equations.gradient,
}


def _one_gradient(data: st.DataObject, depth: int, head: str) -> None:
    shape = data.draw(widths(depth))
    seed = data.draw(st.integers(0, 2**31))
    activation = data.draw(st.sampled_from(["sigmoid", "tanh"]))
    names = {"activation": activation, **HEADS[head]}
    layers = network(shape, seed)
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
    engine = jax.jit(lambda params: mlp.value_and_grad(params, rows, activation=activation, **MLP[head])[1])
    found = columns.from_mlp(engine(columns.to_mlp(layers)))
    assert error(found, mean(layers)) <= BOUND, "mlp"

    plain = network(shape, seed, bias=False)
    W = tuple(W for W, _ in plain)
    found = jax.jit(lambda W: matrix_form.batch_gradient(W, X, Y, **names))(W)
    wanted = tuple(4 * layer.W for layer in mean(plain))  # of the sum, not the mean
    assert error(found, wanted) <= BOUND, "000"


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("depth", [1, 2, 3, 5])
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


WIDTHS = (4, 3, 5, 2)
SQUARE = jnp.array([[1.0, 2.0, 0.5], [0.0, -1.0, 1.5], [3.0, 0.2, 0.1]])
LAYERS = network(WIDTHS)
W = tuple(W for W, _ in LAYERS)
X, Y = batch(WIDTHS, 6)
x, y = X[:, 0], Y[:, 0]


@pytest.mark.parametrize("head", HEADS)
def test_index_and_path_form_work_under_jit(head):
    for form in (index_and_vector_forms.index_form, paths.gradient):
        found = jax.jit(lambda layers, form=form: form(layers, x, y, **HEADS[head]))(LAYERS)
        assert error(found, oracle(LAYERS, x, y, **HEADS[head])) <= BOUND


def test_other_outputs_and_costs():
    """Softmax with the squared error needs the whole Jacobian; relu and identity have their own rules."""
    for names in (
        {"activation": "relu", "output": "softmax", "cost": "quadratic"},
        {"activation": "identity", "output": "identity", "cost": "mean_squares"},
        {"activation": "tanh", "output": "tanh", "cost": "quadratic"},
        {"activation": "sigmoid", "output": "sigmoid", "cost": "cross_entropy"},
    ):
        for form in (two_passes.gradient, paths.gradient, four_equations.gradient):
            assert error(form(LAYERS, x, y, **names), oracle(LAYERS, x, y, **names)) <= BOUND, names
        found = matrix_form.gradient(W, x, y, **names)
        plain = network(WIDTHS, bias=False)
        assert error(found, tuple(layer.W for layer in oracle(plain, x, y, **names))) <= BOUND, names


def test_the_adaptor_goes_both_ways():
    params = columns.to_mlp(LAYERS)
    assert error(columns.from_mlp(params), LAYERS) == 0
    output, _ = mlp.fwd(params, columns.rows(X), activation="sigmoid", output_activation="sigmoid")
    states = index_and_vector_forms.forward(LAYERS, X)
    assert error(columns.columns(output), states.a[-1]) <= BOUND
    bare = columns.matrices_to_mlp(W)
    assert error(columns.matrices_from_mlp(bare), W) == 0
    with pytest.raises(ValueError, match=r"layers\[0\].b was None; expected a bias"):
        columns.from_mlp(bare)
    with pytest.raises(ValueError, match=r"layers\[0\].b .* expected None"):
        columns.matrices_from_mlp(params)


class TestMatrixForm:
    def test_forward_is_the_mlp_without_biases(self):
        states = matrix_form.forward(W, x)
        assert len(states) == len(W) + 1
        bare = columns.matrices_to_mlp(W)
        output, _ = mlp.fwd(bare, x[None], activation="sigmoid", output_activation="sigmoid")
        assert error(states[-1], output[0]) <= BOUND

    def test_squared_error_and_its_gradient(self):
        z, t = matrix_form.forward(W, x)[-1], y
        wanted = jax.grad(matrix_form.squared_error)(z, t)
        assert error(matrix_form.squared_error_gradient(z, t), wanted) <= 1e-15
        Z = jnp.stack([matrix_form.forward(W, column)[-1] for column in X.T], axis=1)
        singles = [matrix_form.squared_error(a, b) for a, b in zip(Z.T, Y.T, strict=True)]
        assert matrix_form.batch_squared_error(Z, Y) == pytest.approx(float(sum(singles)), rel=1e-15)

    def test_matrices_against_autodiff(self):
        found = matrix_form.gradient(W, x, y)
        wanted = jax.grad(lambda W: matrix_form.squared_error(matrix_form.forward(W, x)[-1], y))(W)
        assert error(found, wanted) <= 1e-15

    def test_batch_is_the_sum(self):
        total = matrix_form.batch_gradient(W, X, Y)
        singles = [matrix_form.gradient(W, X[:, k], Y[:, k]) for k in range(6)]
        summed = jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]), *singles)
        assert error(total, summed) <= BOUND

    @pytest.mark.parametrize("output", ["sigmoid", "softmax"])
    def test_tensor_reading_is_the_matrix_reading(self, output):
        states = matrix_form.forward(W, x, output=output)
        tensor = matrix_form.weight_jacobian(W[-1], states[-2], output=output)
        layer = jax.jacobian(lambda w: matrix_form.forward((w,), states[-2], output=output)[-1])(W[-1])
        assert error(tensor, layer) <= BOUND
        reading = matrix_form.tensor_reading(states[-1] - y, tensor)
        assert error(reading, matrix_form.gradient(W, x, y, output=output)[-1]) <= BOUND

    def test_chain_rule_in_this_order(self):
        states = matrix_form.forward(W, x)
        jacobians = [matrix_form.layer_jacobian(w, s) for w, s in zip(W, states[:-1], strict=True)]
        whole = jax.jacobian(lambda x: matrix_form.forward(W, x)[-1])(x)
        assert error(matrix_form.chain(jacobians), whole) <= BOUND
        first, second = (matrix_form.layer_jacobian(w, v) for w, v in ((SQUARE, x[:3]), (SQUARE.T, x[1:])))
        assert error(matrix_form.chain([first, second]), second @ first) <= BOUND
        assert error(matrix_form.chain([second, first]), second @ first) > 0.1

    def test_update_with_a_rate_for_every_weight(self):
        dW = matrix_form.gradient(W, x, y)
        same = matrix_form.update(W, dW, jax.tree.map(lambda w: jnp.full_like(w, 0.3), W))
        sgd = optax.sgd(0.3)
        step, _ = sgd.update(dW, sgd.init(W))
        assert error(same, optax.apply_updates(W, step)) <= 1e-15
        alpha = jax.tree.map(lambda w: 0.1 + jnp.abs(w), W)
        alpha = (alpha[0].at[1, 2].set(0), *alpha[1:])
        found = matrix_form.update(W, dW, alpha)
        assert bool(found[0][1, 2] == W[0][1, 2])
        assert int(sum(jnp.sum(f == w) for f, w in zip(found, W, strict=True))) == 1
        as_optax = optax.chain(optax.sgd(1.0), scale_by(alpha))
        step, _ = as_optax.update(dW, as_optax.init(W))
        assert error(found, optax.apply_updates(W, step)) <= 1e-15


class TestTwoPasses:
    def test_theta_goes_round(self):
        theta = two_passes.flatten(LAYERS)
        assert theta.shape == (sum(W.size + b.size for W, b in LAYERS),)
        assert bool(jnp.all(theta[-2:] == LAYERS[-1].b))  # the biases come last
        assert error(two_passes.unflatten(theta, LAYERS), LAYERS) == 0
        with pytest.raises(ValueError, match=r"theta has shape \(3,\); expected \(47,\)"):
            two_passes.unflatten(theta[:3], LAYERS)

    def test_a_step_on_theta_is_a_step_on_the_tree(self):
        grads = two_passes.total_gradient(LAYERS, X, Y)
        flat = two_passes.descend(two_passes.flatten(LAYERS), two_passes.flatten(grads), 0.3)
        tree = index_and_vector_forms.update(LAYERS, grads, 0.3)
        assert error(two_passes.unflatten(flat, LAYERS), tree) == 0

    @pytest.mark.parametrize("head", HEADS)
    def test_the_two_factors(self, head):
        names = HEADS[head]
        ahead = two_passes.forward_pass(LAYERS, x)
        dl_dz = two_passes.backward_pass(LAYERS, ahead.z, y, **names)
        wanted = oracle(LAYERS, x, y, **names)
        for k, layer in enumerate(wanted):
            assert error(jnp.outer(dl_dz[k], ahead.dz_dw[k]), layer.W) <= BOUND
            assert error(dl_dz[k] * ahead.dz_db[k], layer.b) <= BOUND

    def test_fan_out(self):
        w, a = jnp.array([0.3, -1.2]), jnp.asarray(0.7)

        def of_z(z):
            return jnp.sin(z[0]) * z[1] ** 2

        wanted = jax.grad(lambda a: of_z(w * a))(a)
        assert two_passes.fan_out(w, jax.grad(of_z)(w * a)) == pytest.approx(float(wanted), rel=1e-15)


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


class TestIndexAndVectorForms:
    def test_augmented_weights(self):
        layer = LAYERS[0]
        augmented = index_and_vector_forms.augment(layer)
        assert error(index_and_vector_forms.split(augmented), layer) == 0
        found = augmented @ index_and_vector_forms.augment_state(x)
        assert error(found, layer.W @ x + layer.b) <= BOUND

    @pytest.mark.parametrize("head", HEADS)
    def test_output_deltas(self, head):
        names = HEADS[head]
        target = 1.7 * y  # sums to 1.7
        z = index_and_vector_forms.forward(LAYERS, x, output=names["output"]).z[-1]
        unit = (Layer(jnp.eye(2), z),)  # a network whose pre-activation is its bias
        wanted = oracle(unit, jnp.zeros(2), target, **names)[0].b
        a = OUTPUTS[names["output"]].value(z)
        delta = index_and_vector_forms.OUTPUT_DELTAS[names["output"], names["cost"]]
        assert error(delta(z, a, target), wanted) <= BOUND

    @pytest.mark.parametrize("head", HEADS)
    def test_training_step_is_sgd(self, head):
        names = HEADS[head]
        layers = index_and_vector_forms.initialize(jax.random.key(0), WIDTHS, dtype=jnp.float64)
        assert all(float(jnp.abs(W).max()) < 0.05 and not layer_b.any() for W, layer_b in layers)
        found, cost = jax.jit(
            lambda layers: index_and_vector_forms.train_step(layers, X, Y, eta=0.3, **names)
        )(layers)
        wanted = jax_ref.textbook.mean_cost(layers, X, Y, **names)
        assert cost == pytest.approx(float(wanted), rel=BOUND)
        sgd = optax.sgd(0.3)
        step, _ = sgd.update(oracle(layers, X, Y, **names), sgd.init(layers))
        assert error(found, optax.apply_updates(layers, step)) <= BOUND

    def test_the_algorithm_learns(self):
        names = HEADS["cross_entropy"]
        step = jax.jit(lambda layers: index_and_vector_forms.train_step(layers, X, Y, eta=1.0, **names))
        layers, first = step(LAYERS)
        for _ in range(50):
            layers, _ = step(layers)
        assert step(layers)[1] < 0.9 * first


class TestPaths:
    @pytest.mark.parametrize(("head", "number"), [("quadratic", 10), ("cross_entropy", 20)])
    def test_sum_over_paths(self, head, number):
        names = HEADS[head]
        found = paths.paths(LAYERS, x, y, (1, 2, 3), **names)
        assert found.factors.shape == (number, 7)  # seven factors, as printed
        assert paths.count(WIDTHS, 1, output=names["output"]) == number
        assert len({tuple(route) for route in found.routes}) == number
        wanted = oracle(LAYERS, x, y, **names)[0].W[1, 2]
        assert float(found.products.sum()) == pytest.approx(float(wanted), rel=BOUND)
        labels = paths.factor_names(found.routes[0], (1, 2, 3), 3)
        assert labels == (
            "∂L/∂ŷ_1", "∂ŷ_1/∂a_3,1", "∂a_3,1/∂h_2,1", "∂h_2,1/∂a_2,1", "∂a_2,1/∂h_1,2", "∂h_1,2/∂a_1,2",
            "∂a_1,2/∂W_1,2,3",
        )  # fmt: skip

    @pytest.mark.parametrize("layer", [1, 2, 3])
    @pytest.mark.parametrize("head", HEADS)
    def test_number_of_paths(self, layer, head):
        names = HEADS[head]
        found = paths.paths(LAYERS, x, y, (layer, 2, 1), **names)
        assert len(found.routes) == paths.count(WIDTHS, layer, output=names["output"])
        assert found.factors.shape[1] == 3 + 2 * (3 - layer)

    def test_stable_forms(self):
        z = jnp.array([[1000.0, 1001.0, -1000.0], [0.0, -3.0, 2.0]])
        assert bool(jnp.isfinite(paths.sigmoid_rows(z)).all())
        p = paths.softmax_rows(z)
        assert bool(jnp.isfinite(p).all())
        assert error(p.sum(-1), jnp.ones(2)) <= 1e-15
        assert error(p[1], jax.nn.softmax(z[1])) <= 1e-15
        assert error(paths.sigmoid_rows(z[1]), jax.nn.sigmoid(z[1])) <= 1e-15

    @pytest.mark.parametrize("weight", [(0, 1, 1), (4, 1, 1), (1, 4, 1), (1, 1, 0)])
    def test_no_such_weight(self, weight):
        with pytest.raises(ValueError, match=r"paths: weight was \(.*expected"):
            paths.paths(LAYERS, x, y, weight)


class TestFourEquations:
    @pytest.mark.parametrize("head", HEADS)
    def test_each_equation_against_autodiff(self, head):
        names = HEADS[head]
        z, a = index_and_vector_forms.forward(LAYERS, x, output=names["output"])
        wanted = oracle(LAYERS, x, y, **names)  # the gradient by b is e: equation 3
        e_last = four_equations.equation_1(
            COSTS[names["cost"]].gradient(a[-1], y), z[-1], output=names["output"]
        )
        assert error(e_last, wanted[-1].b) <= BOUND
        e = four_equations.equation_2(LAYERS[2].W, wanted[2].b, z[1])
        assert error(e, wanted[1].b) <= BOUND
        assert error(four_equations.equation_3(wanted[0].b), wanted[0].b) == 0
        assert error(four_equations.equation_4(a[1], wanted[1].b), wanted[1].W) <= BOUND

    @pytest.mark.parametrize("head", HEADS)
    def test_changing_one_neuron_or_one_weight(self, head):
        names = HEADS[head]
        gradient = four_equations.gradient(LAYERS, x, y, **names)

        def slope(cost: Callable[[float], jax.Array]) -> float:
            return float(cost(1e-5) - cost(-1e-5)) / 2e-5

        by_neuron = slope(
            lambda shift: four_equations.cost_with_neuron_shifted(
                LAYERS, x, y, shift, layer=2, neuron=4, **names
            )
        )
        assert by_neuron == pytest.approx(float(gradient[1].b[3]), rel=1e-5)
        by_weight = slope(
            lambda shift: four_equations.cost_with_weight_shifted(
                LAYERS, x, y, shift, layer=2, neuron=4, source=2, **names
            )
        )
        assert by_weight == pytest.approx(float(gradient[1].W[3, 1]), rel=1e-5)
        with pytest.raises(ValueError, match="neuron was 6; expected 1 to 5"):
            four_equations.cost_with_neuron_shifted(LAYERS, x, y, 0.1, layer=2, neuron=6)


BAD = {
    "x has shape": (LAYERS, x[:3], y, {}),
    "y has shape": (LAYERS, x, y[:1], {}),
    "W of layer 2": ((LAYERS[0], LAYERS[2]), x, y, {}),
    "b of layer 1": ((LAYERS[0]._replace(b=y), *LAYERS[1:]), x, y, {}),
    "expected one layer or more": ((), x, y, {}),
    "did you mean 'sigmoid'": (LAYERS, x, y, {"activation": "sigmoyd"}),
    "dtype int64": (LAYERS, jnp.arange(4), y, {}),
}


@pytest.mark.parametrize("form", SINGLE)
@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_named(form, message):
    layers, x, y, names = BAD[message]
    if form == "002 augmented" and message == "b of layer 1":
        pytest.skip("there is no b of another length in an augmented matrix")
    with pytest.raises((TypeError, ValueError), match=message):
        SINGLE[form](layers, x, y, **{**HEADS["quadratic"], **names})


def test_bad_batches_are_named():
    with pytest.raises(ValueError, match=r"the shape of X was \(4,\); expected \(inputs, examples\)"):
        index_and_vector_forms.batch_form(LAYERS, x, y)
    with pytest.raises(ValueError, match=r"y has shape \(2, 5\); expected \(2, 6\)"):
        two_passes.total_gradient(LAYERS, X, Y[:, :5])


def test_output_deltas_exist_for_two_pairs():
    with pytest.raises(ValueError, match="softmax with quadratic"):
        index_and_vector_forms.gradient(LAYERS, x, y, output="softmax", cost="quadratic")
