"""Note 004, the four equations: each against autodiff, and by changing one neuron or weight."""

from collections.abc import Callable

import jax
import pytest

import jax_ref.textbook
from manual_bp.textbook import four_equations, index_and_vector_forms
from manual_bp.textbook.functions import COSTS
from tests.textbook.networks import BOUND, HEADS, LAYERS, error, oracle, x, y


@pytest.mark.parametrize("head", HEADS)
def test_forward_propagation(head):
    output = HEADS[head]["output"]
    z, a = four_equations.forward(LAYERS, x, output=output)
    assert error(a[-1], jax_ref.textbook.apply(LAYERS, x, output=output)) <= BOUND
    assert error(z[-1], jax_ref.textbook.last_input(LAYERS, x)) <= BOUND
    assert error((z, a), tuple(index_and_vector_forms.forward(LAYERS, x, output=output))) <= BOUND


@pytest.mark.parametrize("head", HEADS)
def test_each_equation_against_autodiff(head):
    names = HEADS[head]
    z, a = four_equations.forward(LAYERS, x, output=names["output"])
    wanted = oracle(LAYERS, x, y, **names)  # the gradient by b is e: equation 3
    e_last = four_equations.equation_1(COSTS[names["cost"]].gradient(a[-1], y), z[-1], output=names["output"])
    assert error(e_last, wanted[-1].b) <= BOUND
    e = four_equations.equation_2(LAYERS[2].W, wanted[2].b, z[1])
    assert error(e, wanted[1].b) <= BOUND
    assert error(four_equations.equation_3(wanted[0].b), wanted[0].b) == 0
    assert error(four_equations.equation_4(a[1], wanted[1].b), wanted[1].W) <= BOUND


@pytest.mark.parametrize("head", HEADS)
def test_changing_one_neuron_or_one_weight(head):
    names = HEADS[head]
    gradient = four_equations.gradient(LAYERS, x, y, **names)

    def slope(cost: Callable[[float], jax.Array]) -> float:
        return float(cost(1e-5) - cost(-1e-5)) / 2e-5

    by_neuron = slope(
        lambda shift: four_equations.cost_with_neuron_shifted(LAYERS, x, y, shift, layer=2, neuron=4, **names)
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
