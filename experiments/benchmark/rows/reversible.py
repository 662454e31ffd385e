"""The row of a stack of reversible couplings: 24 layers, f and g each a perceptron of one hidden layer."""

from functools import partial
from typing import Any, NamedTuple

import jax

import jax_ref
from experiments.benchmark.rows.row import Draw, Function, Row, op_row
from manual_bp import models, ops

Streams = tuple[jax.Array, jax.Array]


class Pair(NamedTuple):
    """A hand-written pair."""

    fwd: Function
    bwd: Function


class Plain(NamedTuple):
    """A plain forward in the place of a pair, for the references."""

    fwd: Function


SMOOTH = {"activation": "tanh"}  # inputs made again differ by rounding, which turns a relu here and there
PERCEPTRON = Plain(lambda params, x: (jax_ref.models.mlp.apply(params, x, **SMOOTH), None))
PAIR = Pair(partial(models.mlp.fwd, **SMOOTH), partial(models.mlp.bwd, **SMOOTH))


def _stack(draw: Draw) -> Row:
    def coupled(params: Any, x1: jax.Array, x2: jax.Array, **_: Any) -> Streams:
        return jax_ref.ops.reversible.apply(params, x1, x2, f=PERCEPTRON, g=PERCEPTRON)

    def plain(params: Any, x1: jax.Array, x2: jax.Array, **_: Any) -> Streams:
        return jax_ref.ops.reversible_stack.apply(params, x1, x2, f=PERCEPTRON, g=PERCEPTRON)

    def scanned(layer: Function, params: Any, x1: jax.Array, x2: jax.Array, **_: Any) -> Streams:
        return jax.lax.scan(lambda streams, params: (layer(params, *streams), None), (x1, x2), params)[0]

    rows, features, hidden, layers = draw.dims(512, 256, 512, 24)
    x1, x2 = draw.real(512, 256), draw.real(512, 256)
    keys = jax.random.split(jax.random.key(0), (2, layers))
    widths = (features, hidden, features)
    made = [jax.vmap(partial(models.mlp.init, widths=widths))(of_layers) for of_layers in keys]
    params = tuple(jax.tree.map(lambda p: p / 2, of_all) for of_all in made)
    row = op_row(
        ops.reversible_stack,
        plain,
        (params, x1, x2),
        draw,
        fused={
            "jax.grad of a scan": partial(scanned, coupled),
            "jax.checkpoint": partial(scanned, jax.checkpoint(coupled)),
        },
        f=PAIR,
        g=PAIR,
    )
    return row._replace(size=f"{layers} layers {rows}x{features} hidden {hidden}")


ROWS = {"reversible_stack": _stack}
