"""All paths from one weight of a network to the loss of an iris, and their sum: (1) to (4)."""

import dataclasses
import itertools
from functools import partial
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from sklearn.datasets import load_iris

from experiments.common import memory, study
from experiments.common.errors import UserError, choose
from experiments.common.options import Count, OneOf
from jax_ref import textbook
from manual_bp.models import mlp
from manual_bp.textbook import columns, four_equations, functions, paths

MOST_PATHS = 100_000
"""Paths that are computed."""


@dataclasses.dataclass(frozen=True)
class Settings(study.Settings):
    """What this study can be told."""

    weight: tuple[Count, Count, Count] = (1, 2, 3)
    """The layer of the weight, the neuron that it leads to and the neuron that it comes from."""
    widths: tuple[Count, ...] = (4, 3, 3, 3)
    """Width of every layer, from the inputs (the first of the 4 features) to the outputs (3 classes)."""
    example: Count = 1
    """Of scikit-learn's irises, with standardised features: 1 to 50 are setosa, up to 100 versicolor."""
    activation: Annotated[str, OneOf(functions.ACTIVATIONS)] = "sigmoid"
    """Activation of the hidden layers."""
    output: Annotated[str, OneOf(functions.OUTPUTS)] = "softmax"
    """Function of the last layer."""
    cost: Annotated[str, OneOf(functions.COSTS)] = "cross_entropy"
    """Cost of the outputs."""


def check(settings: Settings) -> None:
    """Raise `UserError` for an unknown name, a weight that is not there, or too many paths."""
    choose("--activation", settings.activation, functions.ACTIVATIONS)
    choose("--output", settings.output, functions.OUTPUTS)
    choose("--cost", settings.cost, functions.COSTS)
    widths, (layer, i, j) = settings.widths, settings.weight
    shown, weight = (" ".join(map(str, numbers)) for numbers in (widths, settings.weight))
    if len(widths) < 2 or min(widths) < 1 or widths[0] > 4:
        raise UserError(f"--widths was {shown}; expected two positive numbers or more, the first at most 4.")
    if not (1 <= layer < len(widths) and 1 <= i <= widths[layer] and 1 <= j <= widths[layer - 1]):
        expected = f"a layer of 1 to {len(widths) - 1}, a neuron in it and one in the layer before"
        raise UserError(f"--weight was {weight}; expected {expected}, where --widths is {shown}.")
    if (number := paths.count(widths, layer, output=settings.output)) > MOST_PATHS:
        raise UserError(f"--weight was {weight}, with {number:,} paths; expected {MOST_PATHS:,} at most.")
    memory.require(f"--widths {shown}", 2 * 8 * sum(i * o for i, o in itertools.pairwise(widths)))
    most = 50 * min(3, widths[-1])  # the classes follow on each other
    if not 1 <= settings.example <= most:
        raise UserError(f"--example was {settings.example}; expected 1 to {most}, where --widths is {shown}.")


def example(settings: Settings) -> tuple[Float[Array, " I"], Float[Array, " O"]]:
    """Its inputs and its one-hot target."""
    x, label = load_iris(return_X_y=True)
    x, k = (x - x.mean(0)) / x.std(0), settings.example - 1
    return jnp.asarray(x[k, : settings.widths[0]]), jnp.asarray(np.eye(settings.widths[-1])[label[k]])


def measure(settings: Settings) -> study.Figures:
    """All paths, the largest first, and their sum beside the gradient by backpropagation and by jax.grad."""
    check(settings)
    x, y = example(settings)
    layers = columns.from_mlp(mlp.init(jax.random.key(settings.seed), settings.widths, dtype=jnp.float64))
    names = {"activation": settings.activation, "output": settings.output, "cost": settings.cost}
    layer, i, j = settings.weight
    each = jax.jit(partial(paths.paths, weight=settings.weight, **names))(layers, x, y)  # (2)
    found = jax.tree.map(np.asarray, each)
    products = found.products + 0.0  # makes 0 of -0
    by_hand = jax.jit(partial(four_equations.gradient, **names))(layers, x, y)
    loss, autodiff = jax.jit(jax.value_and_grad(partial(textbook.example_cost, **names)))(layers, x, y)
    if not np.isfinite([loss, *products]).all():  # the logarithm of an output that is not positive
        raise UserError(f"--output was {settings.output}; {settings.cost} needs softmax or sigmoid here.")
    gradients = [float(g[layer - 1].W[i - 1, j - 1]) + 0.0 for g in (by_hand, autodiff)]
    total, size = float(products.sum()), float(np.abs(products).sum())  # (3)
    order = np.argsort(-np.abs(products), kind="stable")
    rows = zip(found.routes[order], found.factors[order], products[order], strict=True)
    return {
        "weight": list(settings.weight),
        "widths": list(settings.widths),
        "output": settings.output,
        "name": f"W_{layer},{i},{j}",
        "label": f"iris {settings.example} at initialisation: " + ", ".join(names.values()).replace("_", "-"),
        "not_zero": int(np.count_nonzero(products)),
        "loss": float(loss),
        "sum": total,
        "positive": float(products[products > 0].sum()),
        "negative": float(products[products < 0].sum()),
        "cancelled": 1 - abs(total) / size if size else 0.0,  # (4)
        "backpropagation": gradients[0],
        "autodiff": gradients[1],
        "difference": max(abs(total - gradient) for gradient in gradients),
        "paths": [{"route": r.tolist(), "factors": f.tolist(), "product": float(p)} for r, f, p in rows],
    }
