"""The private gradient of a perceptron: each example's is clipped, and none of them is formed.

vmap of jax.grad has those of a device in memory, all at once.
"""

from typing import Any

import jax
from jax.sharding import PartitionSpec as P

from experiments.parallel import private_user
from experiments.parallel.kinds import AXIS, mesh_of
from experiments.parallel_benchmark.row import BYTES, MEMORY, Row, on, partitioned, put
from jax_ref import private as reference
from jax_ref.models import mlp as plain
from manual_bp.models import mlp
from manual_bp.parallel import private

WIDTHS, EXAMPLES = (784, 512, 512, 10), 256
SMALL = ((12, 16, 5), 8)
STATIC: dict[str, Any] = {"activation": "relu", "loss": "softmax_cross_entropy"}
NOISE: dict[str, Any] = {"max_norm": 1.0, "noise_multiplier": 1.0}


def make(dtype: Any, seed: int, small: bool) -> Row:
    """The row."""
    widths, examples = SMALL if small else (WIDTHS, EXAMPLES)
    n, mesh = 4, mesh_of(4)
    keys = jax.random.split(jax.random.key(seed), 3)
    params = mlp.init(keys[0], widths, dtype=dtype)
    x = jax.random.normal(keys[1], (examples, widths[0]), dtype)
    targets = jax.random.randint(keys[2], (examples,), 0, widths[-1])
    noise = jax.random.key(seed + 1)
    specs, out = (P(), P(AXIS), P(AXIS)), (P(), P())

    def hand(params: Any, x: Any, targets: Any) -> Any:
        return private.value_and_grad(mlp, params, (x, targets), noise, axis=AXIS, **NOISE, **STATIC)

    def whole(params: Any, x: Any, targets: Any) -> Any:
        return reference.value_and_grad(plain.loss, params, (x, targets), noise, **NOISE, **STATIC)

    def by_user(params: Any, x: Any, targets: Any) -> Any:
        return private_user.value_and_grad(params, x, targets, noise, axis=AXIS, **NOISE, **STATIC)

    return Row(
        f"{' '.join(map(str, widths))}, B{examples}",
        n,
        put((params, x, targets), specs, mesh),
        on(mesh, hand, specs, out),
        {
            "vmap of jax.grad, one sum": on(mesh, by_user, specs, out),
            "vmap of jax.grad, automatic": partitioned(mesh, whole, specs, out),
        },
        whole,
        (BYTES, MEMORY),
        {
            (BYTES, "vmap of jax.grad, automatic"): 0.2,
            (MEMORY, "vmap of jax.grad, automatic"): 0.05,
            (MEMORY, "vmap of jax.grad, one sum"): 0.05,
        },
    )
