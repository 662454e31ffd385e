r"""Pipeline of stages, one forward and one backward at a time (1F1B).   Axes: s = 0..S-1 the stages, each on
a device of a mesh axis; m = 0..M-1 the microbatches; b the examples of one of them.

    x^0_m = xs_m,    x^(s+1)_m = f(w^s, x^s_m)                      (1)
    cost  = (1/(M b)) sum_m sum_b loss(x^S_m, targets_m)            (2)

    dx^S_m = (dcost/(M b)) dloss/dx^S_m                             (3)
    dw^s   = sum_m dw^s_m;    dw^s_m, dx^s_m = the backward of (1) for dx^(s+1)_m       (4)

    tick t:  stage s does the forward of m = t - s                  (5)
             and the backward of m = t - 2(S - 1) + s               (6)

The last stage begins the backward of a microbatch in the tick of its forward, and so a stage has at most
2(S - 1 - s) + 1 of them begun and not ended, whatever M is: what they saved is in min(M, 2S - 1) slots. Each
tick x goes to the next stage and dx to the one before. S - 1 ticks have forwards alone, M have both, and
S - 1 backwards alone. A stage that has none in a tick computes all the same, and what comes of it counts
nothing: every device sends and receives in every tick.

With `recompute` a slot holds x^s_m alone, and the forward is done again in the backward.

Narayanan et al. 2019 (PipeDream); Huang et al. 2019, arXiv:1811.06965 (GPipe).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Integer

from manual_bp import checks
from manual_bp.bridge import Op
from manual_bp.parallel import axes, collectives
from manual_bp.precision import accumulator
from manual_bp.sharding import made_to_vary, varying


class Tick(NamedTuple):
    """For each stage the microbatch whose forward, and that whose backward, it does; None for none."""

    forward: tuple[int | None, ...]
    backward: tuple[int | None, ...]


def schedule(stages: int, microbatches: int) -> tuple[Tick, ...]:
    """What each stage does in each tick: (5) and (6)."""
    checks.counts("pipeline", stages=stages, microbatches=microbatches)

    def there(m: int) -> int | None:
        return m if 0 <= m < microbatches else None

    return tuple(
        Tick(
            tuple(there(t - s) for s in range(stages)),
            tuple(there(t - 2 * (stages - 1) + s) for s in range(stages)),
        )
        for t in range(microbatches + 2 * (stages - 1))
    )


def specs(blocks: Any, *, axis: str, size: int) -> Any:
    """How blocks that are stacked on a leading axis lie on the mesh: as many on each of `size` stages."""
    (count,) = {leaf.shape[0] for leaf in jax.tree.leaves(blocks)}
    if count % size:
        raise ValueError(f"pipeline: {count} blocks and {size} stages; expected blocks to divide by stages")
    return jax.tree.map(lambda _: P(axis), blocks)


class Gradient(NamedTuple):
    """Cotangents of this stage's params, of the head where there is one, and of `xs`."""

    params: Any
    head: Any
    xs: Float[Array, "M b *X"]


def one_f_one_b(
    stage: Op,
    params: Any,
    xs: Float[Array, "M b *X"],
    targets: Any,
    loss: Op,
    head: Any = None,
    *,
    axis: str | None,
    recompute: bool = False,
    dcost: Float[Array, ""] | float = 1.0,
    **static: Any,
) -> tuple[Float[Array, ""], Gradient]:
    """The mean loss over all microbatches, and its gradient.

    `stage` is `fwd(params, x, **static) -> (y, residuals)` with y like x, and its `bwd`; `params` are those
    of this device's stage. `loss` is `fwd(y, targets) -> (one value per example, residuals)`, or
    `fwd(head, y, targets)` where there is a `head`, and its `bwd`. `xs`, `targets` and `head` are the same on
    all stages, with a leading axis of microbatches for the first two. The cotangents of `head` and `xs` are
    too. `dcost` is the cotangent of the mean.
    """
    axes.check("pipeline", axis)
    _check(xs, targets)
    ticks = _Ticks(stage, params, xs, targets, loss, head, axis, recompute, dcost, static)
    state, sums = ticks.start()
    ends = ticks.stages - 1, ticks.stages - 1 + ticks.microbatches, ticks.microbatches + 2 * ticks.stages - 2
    numbers = jnp.arange(ends[2], dtype=jnp.int32)
    state, _ = lax.scan(ticks.forward, state, numbers[: ends[0]])
    (state, sums), _ = lax.scan(ticks.both, (state, sums), numbers[ends[0] : ends[1]])
    (state, sums), _ = lax.scan(ticks.backward, (state, sums), numbers[ends[1] :])
    cost, d_head, dxs = (
        jax.tree.map(lambda x: collectives.all_reduce.fwd(x, axis=axis)[0], x)  # one stage alone has them
        for x in (sums.cost, sums.head, sums.xs)
    )
    d_params, d_head = (
        jax.tree.map(lambda d, p: d.astype(p.dtype), d, p) for d, p in ((sums.params, params), (d_head, head))
    )
    return cost, Gradient(d_params, d_head, dxs)


class _State(NamedTuple):
    """What came from the stage before and from that behind, and what was saved."""

    x: Array
    dy: Array
    slots: Any


class _Sums(NamedTuple):
    params: Any
    head: Any
    xs: Array
    cost: Array


class _Ticks(NamedTuple):
    """The three kinds of ticks."""

    stage: Op
    params: Any
    xs: Array
    targets: Any
    loss: Op
    head: Any
    axis: str | None
    recompute: bool
    dcost: Any
    static: dict[str, Any]

    @property
    def stages(self) -> int:
        return axes.size(self.axis)

    @property
    def microbatches(self) -> int:
        return len(self.xs)

    def start(self) -> tuple[_State, _Sums]:
        """Zeros, which vary over what anything here does."""
        inside = (self.params, self.xs, self.targets, self.head)
        everywhere = frozenset(axes.names(self.axis)) | varying(inside)
        x = made_to_vary(self.xs[0], everywhere)
        y, res = jax.eval_shape(lambda p, x: self.stage.fwd(p, x, **self.static), self.params, x)
        if (y.shape, y.dtype) != (x.shape, x.dtype):
            described = (y.shape, x.shape) if y.shape != x.shape else (y.dtype, x.dtype)
            raise ValueError(
                f"pipeline: stage returned {described[0]} for {described[1]}; a stage keeps the shape"
            )
        count = min(self.microbatches, 2 * self.stages - 1)
        slots = jax.tree.map(lambda r: jnp.zeros((count, *r.shape), r.dtype), x if self.recompute else res)
        sums = [
            jax.tree.map(lambda p: jnp.zeros(p.shape, accumulator(p.dtype)), p)
            for p in (self.params, self.head)
        ]
        cost = jnp.zeros((), accumulator(x.dtype))
        return jax.tree.map(
            lambda z: made_to_vary(z, everywhere),
            (
                _State(jnp.zeros_like(x), jnp.zeros_like(x), slots),
                _Sums(sums[0], sums[1], jnp.zeros_like(self.xs), cost),
            ),
        )

    def forward(self, state: _State, t: Integer[Array, ""]) -> tuple[_State, None]:
        """A tick of forwards alone."""
        y, slots = self._forward(state, t)
        x, _ = collectives.shift.fwd(y, axis=self.axis)
        return state._replace(x=x, slots=slots), None

    def both(self, carry: tuple[_State, _Sums], t: Integer[Array, ""]) -> tuple[tuple[_State, _Sums], None]:
        """A tick of a forward and a backward."""
        state, sums = carry
        y, slots = self._forward(state, t)
        is_last = jnp.asarray(axes.index(self.axis) == self.stages - 1)
        dy, sums = self._of_loss(y, sums, t - (self.stages - 1), is_last)
        dy = jnp.where(is_last, dy, state.dy)
        dx, sums = self._backward(state._replace(slots=slots, dy=dy), sums, t)
        x, _ = collectives.shift.fwd(y, axis=self.axis)
        x, dx = lax.optimization_barrier((x, dx))  # what does not wait may be sent in another order elsewhere
        return (_State(x, collectives.shift.bwd(None, dx, axis=self.axis), slots), sums), None

    def backward(
        self, carry: tuple[_State, _Sums], t: Integer[Array, ""]
    ) -> tuple[tuple[_State, _Sums], None]:
        """A tick of backwards alone."""
        state, sums = carry
        dx, sums = self._backward(state, sums, t)
        return (state._replace(dy=collectives.shift.bwd(None, dx, axis=self.axis)), sums), None

    def _forward(self, state: _State, t: Integer[Array, ""]) -> tuple[Array, Any]:
        s = axes.index(self.axis)
        m = t - s  # (5)
        x = jnp.where(s == 0, self._at(self.xs, m), state.x)
        y, res = self.stage.fwd(self.params, x, **self.static)  # (1)
        slot, is_there = self._slot(m)

        def kept(slots: Array, new: Array) -> Array:
            return slots.at[slot].set(jnp.where(is_there, new, slots[slot]))

        return y, jax.tree.map(kept, state.slots, x if self.recompute else res)

    def _backward(self, state: _State, sums: _Sums, t: Integer[Array, ""]) -> tuple[Array, _Sums]:
        s = axes.index(self.axis)
        m = t - 2 * (self.stages - 1) + s  # (6)
        slot, is_there = self._slot(m)
        res = jax.tree.map(lambda slots: slots[slot], state.slots)
        if self.recompute:
            _, res = self.stage.fwd(self.params, res, **self.static)
        d_params, dx = self.stage.bwd(self.params, res, state.dy, **self.static)  # (4)
        at = jnp.clip(m, 0, self.microbatches - 1)
        dxs = sums.xs.at[at].set(jnp.where(is_there & (s == 0), dx, sums.xs[at]))
        return dx, sums._replace(params=_added(sums.params, d_params, is_there), xs=dxs)

    def _of_loss(
        self, y: Array, sums: _Sums, m: Integer[Array, ""], is_last: Bool[Array, ""]
    ) -> tuple[Array, _Sums]:
        """dx^S of the last stage, and the sums with its loss."""
        targets = jax.tree.map(lambda x: self._at(x, m), self.targets)
        head = () if self.head is None else (self.head,)
        losses, res = self.loss.fwd(*head, y, targets)
        count = self.microbatches * losses.size
        dloss = jnp.broadcast_to(jnp.asarray(self.dcost / count, losses.dtype), losses.shape)
        found = self.loss.bwd(*head, res, dloss)  # (3)
        found = found if isinstance(found, tuple) else (found,)
        if head:
            sums = sums._replace(head=_added(sums.head, found[0], is_last))
        cost = jnp.sum(losses, dtype=sums.cost.dtype) / count  # (2)
        return found[len(head)], sums._replace(cost=sums.cost + jnp.where(is_last, cost, 0))

    def _at(self, xs: Array, m: Integer[Array, ""]) -> Array:
        return xs[jnp.clip(m, 0, self.microbatches - 1)]

    def _slot(self, m: Integer[Array, ""]) -> tuple[Integer[Array, ""], Bool[Array, ""]]:
        """The slot of a microbatch, and whether there is such a one."""
        return m % min(self.microbatches, 2 * self.stages - 1), (m >= 0) & (m < self.microbatches)


def _added(sums: Any, new: Any, is_there: Bool[Array, ""]) -> Any:
    return jax.tree.map(lambda a, b: a + jnp.where(is_there, b.astype(a.dtype), 0), sums, new)


def _check(xs: Any, targets: Any) -> None:
    checks.floating("pipeline", xs=xs)
    if xs.ndim < 2 or 0 in xs.shape[:2]:
        raise ValueError(
            f"pipeline: xs has no microbatch: its shape is {xs.shape}; expected (microbatches, b, ...)"
        )
    for path, leaf in jax.tree_util.tree_leaves_with_path(targets):
        if leaf.shape[:1] != xs.shape[:1]:
            raise ValueError(
                f"pipeline: targets{jax.tree_util.keystr(path)} has shape {leaf.shape}; expected {len(xs)} "
                "microbatches, as xs has"
            )
