"""The notes' networks: columns, `W (n_out, n_in)`, `z = W a + b`; and the way there from rows and back.

`manual_bp.models.mlp` holds examples as rows and weights as `(n_in, n_out)`, so each matrix and each batch
is transposed on the way; vectors are the same in both.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from manual_bp import checks
from manual_bp.models import mlp
from manual_bp.ops import dense
from manual_bp.textbook.functions import ACTIVATIONS, COSTS, OUTPUTS

Tree = TypeVar("Tree")


class Layer(NamedTuple):
    """Weights W (n_out, n_in) and biases b (n_out,) of one layer, or the gradient by them."""

    W: Float[Array, "O I"]
    b: Float[Array, " O"]


Network = tuple[Layer, ...]
"""The layers from input to output."""


def from_mlp(params: mlp.Params) -> Network:
    """The network whose rows-first params are `params`; every layer must have a bias."""
    for number, layer in enumerate(params.layers):
        checks.option("from_mlp", f"params.layers[{number}].b", layer.b, layer.b is not None, "a bias")
    return tuple(Layer(layer.w.T, jnp.asarray(layer.b)) for layer in params.layers)


def to_mlp(layers: Sequence[Layer]) -> mlp.Params:
    """The same network, or its gradient, as params of `mlp`."""
    return mlp.Params(tuple(dense.Params(layer.W.T, layer.b) for layer in layers))


def matrices_from_mlp(params: mlp.Params) -> tuple[Float[Array, "O I"], ...]:
    """The matrices of a network without biases."""
    for number, layer in enumerate(params.layers):
        checks.option("matrices_from_mlp", f"params.layers[{number}].b", layer.b, layer.b is None, "None")
    return tuple(layer.w.T for layer in params.layers)


def matrices_to_mlp(W: Sequence[Float[Array, "O I"]]) -> mlp.Params:
    """The same network, or its gradient, as params of `mlp` without biases."""
    return mlp.Params(tuple(dense.Params(w.T, None) for w in W))


def columns(rows: Shaped[Array, "B n"]) -> Shaped[Array, "n B"]:
    """A batch with its examples as columns."""
    return jnp.transpose(rows)


def rows(columns: Shaped[Array, "n B"]) -> Shaped[Array, "B n"]:
    """A batch with its examples as rows."""
    return jnp.transpose(columns)


def mean(stacked: Tree) -> Tree:
    """The mean over the first axis of every leaf: (1/N) sum_k of N gradients stacked by `vmap`."""
    return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), stacked)


def check(
    where: str,
    W: Sequence[Array],
    b: Sequence[Array] | None,
    x: Array,
    y: Array,
    *,
    activation: str,
    output: str,
    cost: str,
) -> None:
    """Raise an error unless the layers follow on each other, fit one example, and the names are known."""
    _check(where, W, b, x, y, (), activation, output, cost)


def check_batch(
    where: str,
    W: Sequence[Array],
    b: Sequence[Array] | None,
    X: Array,
    Y: Array,
    *,
    activation: str,
    output: str,
    cost: str,
) -> None:
    """The same for a batch: X and Y hold as many examples, one or more, as columns."""
    checks.floating(where, X=X)
    wanted = "(inputs, examples) with one example or more"
    checks.option(where, "the shape of X", X.shape, X.ndim == 2 and X.shape[1] > 0, wanted)
    _check(where, W, b, X, Y, X.shape[1:], activation, output, cost)


def check_forward(
    where: str,
    W: Sequence[Array],
    b: Sequence[Array] | None,
    x: Array,
    *,
    activation: str,
    output: str,
) -> None:
    """The same for a forward pass, which has no target and no cost."""
    _check_forward(where, W, b, x, (), activation, output)


def _check(
    where: str,
    W: Sequence[Array],
    b: Sequence[Array] | None,
    x: Array,
    y: Array,
    examples: tuple[int, ...],
    activation: str,
    output: str,
    cost: str,
) -> None:
    checks.choice(where, "cost", cost, COSTS)
    checks.floating(where, y=y)
    width = _check_forward(where, W, b, x, examples, activation, output)
    checks.shape(where, "y", y, (width, *examples), ", the outputs of the last layer")


def _check_forward(
    where: str,
    W: Sequence[Array],
    b: Sequence[Array] | None,
    x: Array,
    examples: tuple[int, ...],
    activation: str,
    output: str,
) -> int:
    """The width of the last layer, if all is well."""
    checks.choice(where, "activation", activation, ACTIVATIONS)
    checks.choice(where, "output", output, OUTPUTS)
    checks.option(where, "layers", tuple(W), len(W) > 0, "one layer or more")
    checks.floating(where, x=x)
    width = None
    for number, matrix in enumerate(W, start=1):
        shape = jnp.shape(matrix)
        wanted = f"(outputs, {width or 'inputs'})" + (", as z = W a + b" if width else "")
        fits = len(shape) == 2 and shape[1] == (width or shape[1])
        checks.option(where, f"the shape of W of layer {number}", shape, fits, wanted)
        if width is None:
            checks.shape(where, "x", x, (shape[1], *examples), ", the inputs of the first layer")
        width = shape[0]
        if b is not None:
            checks.shape(where, f"b of layer {number}", b[number - 1], (width,), ", one for each row of W")
    assert width is not None, "there is a layer"
    return width
