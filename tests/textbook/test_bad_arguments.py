"""Bad arguments of every form: each is named, with what was expected."""

from itertools import product

import jax.numpy as jnp
import pytest

from manual_bp.textbook import four_equations, index_and_vector_forms, paths, two_passes
from tests.textbook.forms import SINGLE
from tests.textbook.networks import HEADS, LAYERS, X, Y, x, y

BAD = {
    "x has shape": (LAYERS, x[:3], y, {}),
    "y has shape": (LAYERS, x, y[:1], {}),
    "W of layer 2": ((LAYERS[0], LAYERS[2]), x, y, {}),
    "b of layer 1": ((LAYERS[0]._replace(b=y), *LAYERS[1:]), x, y, {}),
    "expected one layer or more": ((), x, y, {}),
    "did you mean 'sigmoid'": (LAYERS, x, y, {"activation": "sigmoyd"}),
    "dtype int64": (LAYERS, jnp.arange(4), y, {}),
}


NO_SUCH_THING = ("002 augmented", "b of layer 1")  # in an augmented matrix b has the length of W


@pytest.mark.parametrize(
    ("form", "message"), [pair for pair in product(SINGLE, BAD) if pair != NO_SUCH_THING]
)
def test_bad_arguments_are_named(form, message):
    layers, x, y, names = BAD[message]
    with pytest.raises((TypeError, ValueError), match=message):
        SINGLE[form](layers, x, y, **{**HEADS["quadratic"], **names})


@pytest.mark.parametrize("message", [m for m in BAD if not m.startswith("y")])
@pytest.mark.parametrize("forward", [paths.forward, four_equations.forward])
def test_bad_arguments_of_a_forward_are_named(forward, message):
    layers, x, _, names = BAD[message]
    if "int64" in message:
        x = jnp.arange(4)
    with pytest.raises((TypeError, ValueError), match=message):
        forward(layers, x, **names)


def test_bad_batches_are_named():
    with pytest.raises(ValueError, match=r"the shape of X was \(4,\); expected \(inputs, examples\)"):
        index_and_vector_forms.batch_form(LAYERS, x, y)
    with pytest.raises(ValueError, match=r"y has shape \(2, 5\); expected \(2, 6\)"):
        two_passes.total_gradient(LAYERS, X, Y[:, :5])


def test_output_deltas_exist_for_two_pairs():
    with pytest.raises(ValueError, match="softmax with quadratic"):
        index_and_vector_forms.gradient(LAYERS, x, y, output="softmax", cost="quadratic")
