"""Params in parts over the devices: gathered for a layer, let go, and gathered again in its backward.

jax.grad of a scan keeps the gathered params of all layers, unless `jax.checkpoint` leaves them out: by a
policy that keeps products and nothing else, by one that leaves out what gathers, or with nothing kept.

The hand-written block keeps the results of its products, or its input alone. What keeps products needs the
memory of those that do, so that the goal against the leanest of these policies is that of the second row.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jax.sharding import PartitionSpec as P

from experiments.parallel.kinds import AXIS, mesh_of
from experiments.parallel_benchmark import problem, user
from experiments.parallel_benchmark.row import BYTES, MEMORY, TIME, Jitted, Row, on, partitioned, put
from manual_bp import losses
from manual_bp.parallel import collectives, fsdp, gpt

SIZES = problem.Sizes(layers=12, width=256, hidden=1024, heads=4, batch=4, times=32)
OF_SMALL_LAYERS = problem.Sizes(layers=6, width=64, hidden=256, heads=4, batch=4, times=16)

GATHERING = frozenset(
    ("all_gather", "concatenate", "slice", "reshape", "transpose", "squeeze", "pvary", "broadcast_in_dim")
)
"""Primitives between the parts of a layer's params and the whole."""


def make(dtype: Any, seed: int, small: bool) -> Row:
    """The row of few tokens: of a step's memory the params are most."""
    goals = {(MEMORY, "jax.grad"): 0.2, (MEMORY, "policy: all but gathers"): 0.6}
    return _large(problem.SMALL if small else SIZES, dtype, seed, goals)


def make_recomputing(dtype: Any, seed: int, small: bool) -> Row:
    """The same row, in which a block keeps its input, and the forward is done again."""
    goals = {(MEMORY, "policy: products"): 0.6}
    return _large(problem.SMALL if small else SIZES, dtype, seed, goals, keep="inputs")


def make_of_many_tokens(dtype: Any, seed: int, small: bool) -> Row:
    """The row of many tokens, where XLA by itself sends params too, and not the features of tokens."""
    sizes = problem.SMALL if small else SIZES._replace(batch=16, times=128)
    return _large(sizes, dtype, seed, {(BYTES, "automatic"): 0.85})


def _large(
    sizes: problem.Sizes,
    dtype: Any,
    seed: int,
    goals: dict[tuple[str, str], float],
    **options: Any,
) -> Row:
    of = problem.of(sizes, seed, dtype)
    sides = _Sides(of, 4)
    policies = jax.checkpoint_policies
    return Row(
        str(of.sizes),
        4,
        put(of.args, sides.specs, sides.mesh),
        sides.by_hand(**options),
        {
            "jax.grad": sides.by_user(sides.leaf_by_leaf),
            "policy: products": sides.by_user(
                sides.leaf_by_leaf, policy=policies.dots_with_no_batch_dims_saveable
            ),
            "policy: all but gathers": sides.by_user(sides.leaf_by_leaf, policy=_all_but_gathers),
            "checkpoint of a layer": sides.by_user(sides.leaf_by_leaf, policy=policies.nothing_saveable),
            "automatic": partitioned(sides.mesh, of.plain(), sides.specs, sides.out),
        },
        of.plain(),
        (BYTES, MEMORY, TIME),
        goals,
    )


def make_of_small_layers(dtype: Any, seed: int, small: bool) -> Row:
    """The row of layers so small that it counts how many messages there are."""
    of = problem.of(problem.SMALL if small else OF_SMALL_LAYERS, seed, dtype)
    sides = _Sides(of, 2)
    return Row(
        str(of.sizes),
        2,
        put(of.args, sides.specs, sides.mesh),
        sides.by_hand(),
        {
            "jax.grad": sides.by_user(sides.leaf_by_leaf),
            "jax.grad, one flat message": sides.by_user(sides.flat),
        },
        of.plain(),
        (BYTES, MEMORY, TIME),
        {(TIME, "jax.grad"): 0.5, (TIME, "jax.grad, one flat message"): 1.0},
    )


class _Sides:
    """The sides of a problem over n devices."""

    def __init__(self, of: problem.Problem, n: int) -> None:
        self.of, self.n, self.mesh = of, n, mesh_of(n)
        of_one = jax.eval_shape(lambda p: jax.tree.map(lambda w: w[0], p), of.params)
        self.layout = fsdp.layout(of_one, n)
        self.specs = (fsdp.specs(self.layout, AXIS, stacked=True), P(AXIS), P(AXIS))
        self.out = (P(), self.specs[0])

    def by_hand(self, **of_block: Any) -> Jitted:
        """The hand-written block under FSDP's scan."""
        n, options = self.n, {"layer": gpt, "layout": self.layout, "axis": AXIS, **self.of.static, **of_block}

        def side(params: Any, x: Any, targets: Any) -> Any:
            y, res = fsdp.layers.fwd(params, x, **options)
            cost, dy = losses.mean("squared_error", y, targets, 1 / n)
            grads, _ = fsdp.layers.bwd(params, res, dy, **options)
            return collectives.all_reduce.fwd(cost / n, axis=AXIS)[0], grads

        return on(self.mesh, side, self.specs, self.out)

    def by_user(self, gather: Callable[[Any], Any], policy: Any = None) -> Jitted:
        """jax.grad, with a checkpoint of each layer where there is a policy."""
        n, block = self.n, self.of.layer()

        def layer(part: Any, x: Any) -> Any:
            return block(gather(part), x)

        kept = layer if policy is None else jax.checkpoint(layer, policy=policy)

        def side(params: Any, x: Any, targets: Any) -> Any:
            value, grads = jax.value_and_grad(lambda p: user.cost(user.stack(kept, p, x), targets) / n)(
                params
            )
            return lax.psum(value, AXIS), grads

        return on(self.mesh, side, self.specs, self.out)

    def leaf_by_leaf(self, part: Any) -> Any:
        """The whole params of a layer, in as many messages as leaves."""
        return jax.tree.map(
            lambda w, dim: w if dim is None else lax.all_gather(w, AXIS, axis=dim, tiled=True),
            part,
            self.layout,
        )

    def flat(self, part: Any) -> Any:
        """The same in one message, whose transpose JAX finds."""
        return fsdp.gather(part, self.layout, axis=AXIS)


def _all_but_gathers(primitive: Any, *_: Any, **__: Any) -> bool:
    return primitive.name not in GATHERING
