"""Networks of sigmoids, trained from an ordinary start and from far too large output biases: (4)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.common import study
from experiments.saturation import epochs
from experiments.saturation.costs import COSTS, cross_entropy, quadratic
from manual_bp.models import mlp
from manual_bp.ops import dense
from manual_bp.ops.activations import sigmoid

GOAL = 0.9
"""The training accuracy that the networks are timed to."""


def starts(
    key: Key[Array, ""], inits: int, widths: tuple[int, ...], output_bias: float
) -> dict[str, mlp.Params]:
    """The networks of both starts, stacked along a first axis of `inits`."""
    keys = jax.random.split(key, inits)
    easy = jax.jit(jax.vmap(lambda key: mlp.init(key, widths, dtype=jnp.float64)))(keys)
    *below, last = easy.layers
    bias = jnp.full((inits, widths[-1]), output_bias, jnp.float64)
    return {"easy": easy, "bad": mlp.Params((*below, last._replace(b=bias)))}


def deltas(params: mlp.Params, x: Float[Array, "B I"], t: Float[Array, "B O"], *, cost: str) -> list[Array]:
    """The delta of each layer (B, width), from input to output, of each example's own cost."""
    z, res = mlp.fwd(params, x, activation="sigmoid")
    found = [COSTS[cost](z, t)[1]]
    for k in reversed(range(1, len(params.layers))):
        _, da = dense.bwd(params.layers[k], res.dense[k], found[0])
        found.insert(0, sigmoid.bwd(res.activation[k - 1], da))  # (4)
    return found


def observe(params: mlp.Params, x: Array, t: Array, *, cost: str) -> dict[str, Array]:
    """A network's means over the examples `x` (B, I), `t` (B, O).

    `highest` is the highest of the outputs' means, `delta` (L,) each layer's norm, a root mean square;
    `quotient_error` is the largest distance of a quotient of (1) and (2) from s'(z).
    """
    z, _ = mlp.fwd(params, x, activation="sigmoid")
    slope = jax.nn.sigmoid(z) * jax.nn.sigmoid(-z)
    squares = [jnp.sum(jnp.square(dz), -1) for dz in deltas(params, x, t, cost=cost)]
    return {
        "accuracy": jnp.mean(jnp.argmax(z, -1) == jnp.argmax(t, -1), dtype=x.dtype),
        "cost": jnp.mean(COSTS[cost](z, t)[0]),
        "highest": jnp.max(jnp.mean(jax.nn.sigmoid(z), 0)),
        "slope": jnp.mean(slope),
        "delta": jnp.sqrt(jnp.mean(jnp.stack(squares), -1)),
        "quotient_error": jnp.nanmax(jnp.abs(quadratic(z, t)[1] / cross_entropy(z, t)[1] - slope)),  # not 0/0
    }


def train(
    params: mlp.Params,
    key: Key[Array, ""],
    x: Array,
    t: Array,
    *,
    cost: str,
    batch_size: int,
    learning_rate: float,
    number: int,
) -> dict[str, Array]:
    """Gradient descent on batches of `x` (B, I), `t` (B, O): `observe` before each epoch and after the last.

    `number` is that of the epochs.
    """

    def step(params: mlp.Params, rows: Int[Array, "batch"]) -> tuple[mlp.Params, None]:
        z, res = mlp.fwd(params, x[rows], activation="sigmoid")
        _, dz = COSTS[cost](z, t[rows])
        grads, _ = mlp.bwd(params, res, dz / batch_size, activation="sigmoid")
        return jax.tree.map(lambda p, g: p - learning_rate * g, params, grads), None

    def epoch(params: mlp.Params, key: Key[Array, ""]) -> tuple[mlp.Params, dict[str, Array]]:
        steps = len(x) // batch_size
        rows = jax.random.permutation(key, len(x))[: steps * batch_size].reshape(steps, -1)
        return jax.lax.scan(step, params, rows)[0], observe(params, x, t, cost=cost)

    return jax.lax.scan(epoch, params, jax.random.split(key, number + 1))[1]


def figures(seen: dict[str, Array]) -> study.Figures:
    """Each initialisation's accuracy, and the median over them of the rest."""
    accuracy, highest = np.asarray(seen["accuracy"]), np.asarray(seen["highest"])
    curves = {name: np.median(seen[name], axis=0).T.tolist() for name in ("cost", "slope", "delta")}
    return {
        **curves,  # `delta` is one for each layer
        "accuracy": accuracy.tolist(),
        "epochs_to_0.9": epochs.first(highest < 0.9),
        "epochs_to_goal": epochs.first(accuracy >= GOAL),
        "reached_goal": int(np.sum(np.any(accuracy >= GOAL, axis=-1))),
        "first_gradient": curves["delta"][-1][0] / max(curves["delta"][-1]),
        "quotient_error": float(jnp.max(seen["quotient_error"])),
    }
