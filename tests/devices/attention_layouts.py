"""Both forms of attention on an explicit mesh over batch and heads, each against one device, in float64.

`python -m tests.devices.attention_layouts` prints a JSON object: for each form and layout the largest error,
or what was raised. A process of its own, as `layouts` is.
"""

import itertools
import json
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jax_ref.verify import oracle
from manual_bp import differentiable
from manual_bp.ops import attention, plain_attention

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

MESH = jax.make_mesh((2, 2), ("b", "h"), axis_types=(AxisType.Explicit,) * 2)

OF_INPUTS = (P("b"), P(None, None, "h"), P("b", None, "h"))
OF_BIAS = (P(), P("b"), P(None, "h"), P("b", "h"))
BIASES = ((2, 4, 5, 7), (1, 4, 5, 7), (2, 1, 1, 7), (5, 7))
FORMS = {
    "attention": partial(differentiable(attention), causal=True, block=3),
    "one tile": partial(differentiable(attention), causal=True),
    "plain_attention": partial(differentiable(plain_attention), causal=True),
}


def fits(shape: tuple[int, ...], spec: Any) -> bool:
    """Whether the axes that a spec divides are there, and no less than the mesh is."""
    return all(name is None or (axis < len(shape) and shape[axis] % 2 == 0) for axis, name in enumerate(spec))


def main():
    """The JSON object."""
    rng, found = np.random.default_rng(0), {}
    q, k, v = (jnp.asarray(rng.normal(size=(2, t, heads, 3))) for t, heads in ((5, 4), (7, 2), (7, 2)))
    for (name, function), shape in itertools.product(FORMS.items(), BIASES):
        bias = jnp.asarray(rng.normal(size=shape))

        @jax.jit
        def gradient(args, function=function):
            return oracle.value_and_vjp(function, args, function(*args))

        expected = gradient((q, k, v, bias))
        for of_inputs, of_bias in itertools.product(OF_INPUTS, OF_BIAS):
            if not fits(shape, of_bias):
                continue
            specs = (*(of_inputs,) * 3, of_bias)
            laid = [
                jax.device_put(x, NamedSharding(MESH, s)) for x, s in zip((q, k, v, bias), specs, strict=True)
            ]
            case = f"{name}: inputs {of_inputs}, bias {shape} {of_bias}"
            try:
                with jax.set_mesh(MESH):
                    actual = gradient(tuple(laid))
                pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
                found[case] = max(float(np.max(np.abs(np.asarray(a) - np.asarray(e)))) for a, e in pairs)
            except Exception as raised:
                found[case] = f"{type(raised).__name__}: {raised}"[:400]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
