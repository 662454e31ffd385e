"""Recurrent ops whose features are in parts on an explicit mesh, each against one device, in float64.

`python -m tests.devices.recurrent_layouts` prints a JSON object: for each op and layout the largest error, or
what was raised. A process of its own, as `layouts` is.
"""

import itertools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jax_ref.verify import oracle
from manual_bp import differentiable
from manual_bp.ops import gru, lstm, rnn

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

MESH = jax.make_mesh((2, 2), ("d", "e"), axis_types=(AxisType.Explicit,) * 2)
BATCH, STEPS, FEATURES, WIDTH = 4, 4, 4, 2

OF_X = (None, P(), P("d"), P("d", None, "e"), P(None, "d"))
OF_STATE = (None, P("d"), P("d", "e"), P(None, "e"))
OF_PARAMS = (None, {1: P("e"), 2: P(None, "e")}, {1: P(), 2: P("e")})
"""Where an array lies, None for not on the mesh; of params by how many axes they have."""


def put(x, spec):
    """`x`, on the mesh if there is a spec."""
    return x if spec is None else jax.device_put(x, NamedSharding(MESH, spec))


def main():
    """The JSON object."""
    rng, found = np.random.default_rng(0), {}
    ops: Any = (lstm, gru, rnn)
    for op in ops:
        params = op.init(jax.random.key(0), FEATURES, WIDTH, dtype=jnp.float64)
        x = jnp.asarray(rng.normal(size=(BATCH, STEPS, FEATURES)))
        h = jnp.asarray(rng.normal(size=(BATCH, WIDTH)))
        state = lstm.State(h, jnp.cos(h)) if op is lstm else h

        @jax.jit
        def gradient(args, op=op):
            f = differentiable(op)
            return oracle.value_and_vjp(f, args, f(*args))

        expected = gradient((params, x, state))
        for of_x, of_state, of_params in itertools.product(OF_X, OF_STATE, OF_PARAMS):
            laid = (
                jax.tree.map(lambda p, spec=of_params: put(p, spec and spec[p.ndim]), params),
                put(x, of_x),
                jax.tree.map(lambda s, spec=of_state: put(s, spec), state),
            )
            name = f"{op.__name__.rpartition('.')[2]}: x {of_x}, state {of_state}, params {of_params}"
            try:
                with jax.set_mesh(MESH):
                    actual = gradient(laid)
                pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
                found[name] = max(float(np.max(np.abs(np.asarray(a) - np.asarray(e)))) for a, e in pairs)
            except Exception as raised:
                found[name] = f"{type(raised).__name__}: {raised}"[:400]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
