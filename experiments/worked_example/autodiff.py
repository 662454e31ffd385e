"""Every number of the sheet by JAX in float64: the forward pass in plain code, all derivatives by `jax.grad`.

The derivative by an intermediate value is that by a number, zero, that is added to it.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import jax_ref.textbook
from experiments.worked_example.network import BIASES, WEIGHTS, Example
from experiments.worked_example.sheet import Key

NAMES = {
    "quadratic": {"output": "sigmoid", "cost": "quadratic"},
    "cross_entropy": {"output": "softmax", "cost": "cross_entropy"},
}
"""What the reference calls output and cost."""

COSTS = {
    "quadratic": lambda a, y: jnp.sum((a - y) ** 2) / 2,
    "cross_entropy": lambda a, y: -jnp.sum(y * jnp.log(a)),
}


def truth(example: Example) -> dict[Key, np.ndarray]:
    """By name and layer: z, a, the cost (of layer 2), d of each, the slopes s'(z), the outputs' Jacobian, and
    after the update all that goes forward again, as "new ...".
    """
    found = jax.jit(partial(_everything, example=example))(jnp.asarray(WEIGHTS), jnp.asarray(BIASES))
    return {key: np.asarray(value) for key, value in found.items()}


def _everything(W: Array, b: Array, *, example: Example) -> dict[Key, Array]:
    x, y = (jnp.asarray(numbers, jnp.float64) for numbers in (example.inputs, example.targets))
    activation, names = example.activation, NAMES[example.head]
    hidden, output = (jax_ref.textbook.FUNCTIONS[f] for f in (activation, names["output"]))
    cost = partial(jax_ref.textbook.example_cost, x=x, y=y, activation=activation, **names)

    def forward(W: Array, b: Array, dz: Array, da: Array) -> tuple[Array, dict[Key, Array]]:
        z1 = jnp.matmul(W[0], x) + b[0] + dz[0]
        a1 = hidden(z1) + da[0]
        z2 = jnp.matmul(W[1], a1) + b[1] + dz[1]
        a2 = output(z2) + da[1]
        value = COSTS[example.head](a2, y)
        return value, {("z", 1): z1, ("a", 1): a1, ("z", 2): z2, ("a", 2): a2, ("cost", 2): value}

    zero = jnp.zeros_like(b)
    (dz, da), states = jax.grad(forward, argnums=(2, 3), has_aux=True)(W, b, zero, zero)
    dlayers = jax.grad(cost)(tuple(zip(W, b, strict=True)))
    found = states | {
        ("slope", 1): jax.grad(lambda z: jnp.sum(hidden(z)))(states["z", 1]),
        ("jacobian", 2): jax.jacobian(output)(states["z", 2]),
    }
    new = []
    for k, (dw, db) in enumerate(dlayers, start=1):
        new.append((W[k - 1] - example.learning_rate * dw, b[k - 1] - example.learning_rate * db))
        found |= {("dz", k): dz[k - 1], ("da", k): da[k - 1], ("dw", k): dw, ("db", k): db}
        found |= {("new w", k): new[-1][0], ("new b", k): new[-1][1]}
    new_w, new_b = map(jnp.stack, zip(*new, strict=True))
    _, again = forward(new_w, new_b, zero, zero)
    return found | {(f"new {name}", layer): value for (name, layer), value in again.items()}
