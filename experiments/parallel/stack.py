"""A stack of equal blocks under a scan, as a pair: a stage of a pipeline, or all there is."""

from typing import Any, NamedTuple

from jax import lax

from manual_bp.bridge import Op


class Stack(NamedTuple):
    """Blocks with the static options of each; their params have a leading axis of layers.

    The output of a block varies over the mesh axes that its input does: it sums over others that its params
    vary over.
    """

    block: Op
    static: dict[str, Any]

    def fwd(self, params: Any, x: Any) -> tuple[Any, Any]:
        """The output of the last block, and what each saved."""

        def step(x: Any, of_block: Any) -> tuple[Any, Any]:
            return self.block.fwd(of_block, x, **self.static)

        return lax.scan(step, x, params)

    def bwd(self, params: Any, res: Any, dy: Any) -> tuple[Any, Any]:
        """The cotangents of the params and of the input."""

        def step(dy: Any, given: Any) -> tuple[Any, Any]:
            d_params, dx = self.block.bwd(*given, dy, **self.static)
            return dx, d_params

        dx, d_params = lax.scan(step, dy, (params, res), reverse=True)
        return d_params, dx
