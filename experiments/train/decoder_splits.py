"""Splits of the decoder: heads and hidden features over devices, and params in parts a layer at a time."""

from typing import Any

import jax
from jax.sharding import PartitionSpec as P

from experiments.common.errors import UserError
from experiments.train.splits import AXIS, Pair, Split, reference_of
from manual_bp.parallel import fsdp, gpt


def tensor(recipe: Any, shapes: Any, n: int) -> Split:
    """Heads, hidden features and, where their number divides, rows of the table; all examples on each device.

    JAX splits the reference by itself, by how its params lie.
    """
    vocabulary = shapes.embedding.table.shape[0] % n == 0
    options: dict[str, Any] = {"model": AXIS, "split_vocabulary": vocabulary}
    try:
        specs = gpt.specs(
            shapes, heads=recipe.static["heads"], model=AXIS, size=n, split_vocabulary=vocabulary
        )
    except ValueError as error:
        raise UserError(f"--split tensor is not for this model on {n} devices: {error}.") from None
    return Split(specs, P(), _pair(options), None)


def layers(recipe: Any, shapes: Any, n: int) -> Split:
    """A part of each param on each device; those of the blocks are gathered for one layer at a time."""
    layout = gpt.layout(shapes, n)
    everything = layout._replace(blocks=jax.tree.map(lambda dim: dim + 1, layout.blocks))

    def whole(params: Any) -> Any:
        return fsdp.gather(params, everything, axis=AXIS)

    pair = _pair({"data": AXIS, "layout": layout})
    return Split(gpt.layout_specs(layout, AXIS), P(AXIS), pair, reference_of(recipe, whole))


def _pair(options: dict[str, Any]) -> Pair:
    """The decoder over the mesh, which has no dropout."""

    def value_and_grad(params: Any, batch: Any, *, dropout: float, **static: Any) -> Any:
        return gpt.value_and_grad(params, batch, **static, **options)

    return Pair(value_and_grad)
