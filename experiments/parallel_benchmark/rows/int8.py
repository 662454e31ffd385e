"""A gradient summed in eight bits: an exchange and a gather of a byte, where float32 sends four, twice."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as P

from experiments.parallel.kinds import AXIS, mesh_of
from experiments.parallel_benchmark.row import BYTES, Row, on, put
from manual_bp.parallel import data

NUMBERS, SMALL = 2**20, 2**10


def make(dtype: Any, seed: int, small: bool) -> Row:
    """The row; what is rounded is off by about a hundredth in one step, and fed back into the next."""
    count = SMALL if small else NUMBERS
    mesh, specs = mesh_of(4), (P(AXIS),)
    shares = jax.random.normal(jax.random.key(seed), (4, count), dtype)

    def hand(share: Any) -> Any:
        return data.all_reduce(share[0], axis=AXIS, wire="int8")

    return Row(
        f"{count:,} numbers",
        4,
        put((shares,), specs, mesh),
        on(mesh, hand, specs, P()),
        {"psum": on(mesh, lambda share: lax.psum(share[0], AXIS), specs, P())},
        lambda shares: jnp.sum(shares, 0),
        (BYTES,),
        {(BYTES, "psum"): 0.25},
        tolerance=0.02,
    )
