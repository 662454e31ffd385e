"""One row per op: the pair, its reference, and example arguments.

Every test of a gradient runs over this table. Examples are built for each of the leading shapes
`LEADS`, from numpy in float64: tests cast and redraw their floating point leaves.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import numpy as np

import jax_ref
from jax_ref.ops import activations as reference_activations
from manual_bp import models, ops
from manual_bp.bridge import Op
from manual_bp.models import mlp
from manual_bp.ops import activations, dense

LEADS = ((7,), (1,), (3, 2))
"""Leading shapes: an odd batch, a batch of one, two axes."""

_RNG = np.random.default_rng(0)


class Example(NamedTuple):
    """Arguments of `fwd`, and its static options."""

    args: tuple[Any, ...]
    static: dict[str, Any]

    def __repr__(self) -> str:
        """Shapes, not values: the tests draw their own."""
        return f"Example{jax.tree.map(np.shape, self.args)}, {self.static}"


class Case(NamedTuple):
    """A pair, the reference with the signature of its `fwd`, and examples."""

    op: Op
    reference: Callable[..., Any]
    examples: tuple[Example, ...]

    def __repr__(self) -> str:
        """The reference's name stands for the case."""
        return f"Case({self.reference.__module__}.{self.reference.__name__})"


def example(make: Callable[[tuple[int, ...]], tuple[Any, ...]], **static: Any) -> list[Example]:
    """An example for each of the leading shapes."""
    return [Example(make(lead), static) for lead in LEADS]


def real(*shape: int) -> np.ndarray:
    """Normal values."""
    return _RNG.normal(size=shape)


def labels(shape: tuple[int, ...], classes: int) -> np.ndarray:
    """Labels 0..classes-1."""
    return _RNG.integers(0, classes, shape)


def mask(*shape: int) -> np.ndarray:
    """A mask that allows about half, and nothing in its first row."""
    allowed = _RNG.random(shape) < 0.5
    allowed[..., 0, :] = False
    return allowed


def _dense(i: int, o: int, bias: bool = True) -> dense.Params:
    return dense.Params(real(i, o), real(o) if bias else None)  # pyright: ignore[reportArgumentType]


def _mlp(*widths: int) -> mlp.Params:
    return mlp.Params(tuple(_dense(i, o) for i, o in pairwise(widths)))


def _op(name: str, *examples: list[Example]) -> Case:
    rows = tuple(row for rows in examples for row in rows)
    return Case(getattr(ops, name), getattr(jax_ref.ops, name).apply, rows)


def _activation(name: str, **static: Any) -> Case:
    rows = example(lambda lead: (real(*lead, 5),))
    if static:
        rows += example(lambda lead: (real(*lead, 5),), **static)
    return Case(activations.MEMBERS[name], getattr(reference_activations, name), tuple(rows))


def _model(name: str, *examples: list[Example]) -> Case:
    rows = tuple(row for rows in examples for row in rows)
    return Case(getattr(models, name), getattr(jax_ref.models, name).apply, rows)


CASES: dict[str, Case] = {
    "activations.identity": _activation("identity"),
    "activations.sigmoid": _activation("sigmoid"),
    "activations.tanh": _activation("tanh"),
    "activations.relu": _activation("relu"),
    "activations.leaky_relu": _activation("leaky_relu", slope=-0.25),
    "activations.elu": _activation("elu", alpha=1.5),
    "activations.softplus": _activation("softplus"),
    "activations.silu": _activation("silu"),
    "activations.gelu": _activation("gelu"),
    "activations.gelu_tanh": _activation("gelu_tanh"),
    "activations.relu_squared": _activation("relu_squared"),
    "activations.hard_tanh": _activation("hard_tanh"),
    "dense": _op(
        "dense",
        example(lambda lead: (_dense(5, 3), real(*lead, 5))),
        example(lambda lead: (_dense(5, 3, bias=False), real(*lead, 5))),
    ),
    "softmax": _op(
        "softmax",
        example(lambda lead: (real(*lead, 5), None)),
        example(lambda lead: (real(*lead, 5), None), axis=0),
        example(lambda lead: (real(*lead, 3, 5), mask(3, 5))),
        example(lambda lead: (real(*lead, 3, 5), mask(*lead, 3, 1)), axis=-2),
    ),
    "log_softmax": _op(
        "log_softmax",
        example(lambda lead: (real(*lead, 5), None)),
        example(lambda lead: (real(*lead, 5), None), axis=0),
        example(lambda lead: (real(*lead, 3, 5), mask(3, 5))),
        example(lambda lead: (real(*lead, 3, 5), mask(*lead, 3, 1)), axis=-2),
    ),
    "squared_error": _op("squared_error", example(lambda lead: (real(*lead, 5), real(*lead, 5)))),
    "huber": _op(
        "huber",
        example(lambda lead: (real(*lead, 5), real(*lead, 5))),
        example(lambda lead: (real(*lead, 5), real(*lead, 5)), delta=0.3),
    ),
    "sigmoid_cross_entropy": _op(
        "sigmoid_cross_entropy",
        example(lambda lead: (real(*lead, 5), real(*lead, 5), None)),
        example(lambda lead: (real(*lead, 5), labels((*lead, 5), 2), real(5))),
        example(lambda lead: (real(*lead, 5), real(*lead, 5), real(5))),
        example(lambda lead: (real(*lead, 5), labels((*lead, 5), 2) == 1, None)),
    ),
    "softmax_cross_entropy": _op(
        "softmax_cross_entropy",
        example(lambda lead: (real(*lead, 5), labels(lead, 5), None)),
        example(
            lambda lead: (real(*lead, 5), labels(lead, 5), real(*lead)),
            label_smoothing=0.1,
            z_loss=1e-2,
            ignore_label=2,
        ),
        example(lambda lead: (real(*lead, 5), real(*lead, 5), None)),
        example(
            lambda lead: (real(*lead, 5), real(*lead, 5), real(*lead)),
            label_smoothing=0.3,
            z_loss=0.1,
        ),
    ),
}
"""Op name, and `family.member` of the small families, to its case."""

MODELS: dict[str, Case] = {
    "mlp": _model(
        "mlp",
        example(lambda lead: (_mlp(5, 4, 6, 3), real(*lead, 5)), activation="tanh"),
        example(
            lambda lead: (_mlp(5, 4, 3), real(*lead, 5)),
            activation="gelu",
            output_activation="sigmoid",
        ),
        example(lambda lead: (_mlp(5, 4, 3), real(*lead, 5)), activation="relu"),
        example(lambda lead: (_mlp(5, 3), real(*lead, 5)), output_activation="softplus"),
    ),
}
"""Model name to its case."""
