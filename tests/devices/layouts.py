"""Ops on a mesh of four host devices: each layout's gradient against that of one device, in float64.

`python -m tests.devices.layouts PART [all]` prints a JSON object: for each op and layout the largest relative
error of the output and of a cotangent, or what was raised. It is a process of its own, as the number of
devices is fixed when JAX starts: by `XLA_FLAGS`. Without `all` it tries the first kind of each op, in fewer
layouts.
"""

import functools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jax_ref.verify import oracle
from jax_ref.verify.trees import contained_as
from manual_bp import differentiable
from manual_bp.sharding import like
from tests.cases import CASES, MODELS

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

DEVICES = len(jax.devices())

PARTS = 2
"""Into so many parts the table is split, so that none takes long."""

AXIS = "d"
ODD = 7
"""The leading length of the examples that are taken, made to divide by the devices."""


def prepared(example):
    """Arguments with a batch of twice the devices, and the spec of each leaf: split, or replicated."""

    def leaf(x):
        if np.shape(x)[:1] == (ODD,):
            return jnp.asarray(np.resize(x, (2 * DEVICES, *np.shape(x)[1:]))), P(AXIS)
        return jnp.asarray(x), P()

    leaves, tree = jax.tree.flatten(example.args)
    args, specs = zip(*map(leaf, leaves), strict=True)
    return jax.tree.unflatten(tree, args), jax.tree.unflatten(tree, specs)


def split(x):
    """The spec of an output or its cotangent: split, if it has a value for each example."""
    return P(AXIS) if np.shape(x)[:1] == (2 * DEVICES,) else P()


def plain(f, args, d_output):
    """The output and the cotangents."""
    return oracle.value_and_vjp(f, args, d_output)


def as_own(reference, output):
    """The reference with the containers of the op's own output."""
    return lambda *args: contained_as(output, reference(*args))


def around(f, args, specs, mesh):
    """The function to differentiate from outside of `shard_map`."""
    mapped = jax.shard_map(f, mesh=mesh, in_specs=specs, out_specs=P(AXIS))
    return functools.partial(plain, mapped)


def within(f, args, specs, mesh):
    """Differentiated inside of `shard_map`: the shares of a replicated argument are summed there."""
    d_specs = jax.tree.map(lambda x, spec: spec if oracle.is_floating(x) else None, args, specs)
    return jax.shard_map(
        functools.partial(plain, f), mesh=mesh, in_specs=(specs, P(AXIS)), out_specs=(P(AXIS), d_specs)
    )


def whole(f, args, specs, mesh):
    """The function itself, on arrays that are laid out over the mesh."""
    return functools.partial(plain, f)


def run(make, f, args, d_output, specs, mesh):
    """What a layout computes, of arrays that lie on the mesh as `specs` says."""
    args = jax.tree.map(lambda x, spec: jax.device_put(x, NamedSharding(mesh, spec)), args, specs)
    d_output = jax.tree.map(lambda d: jax.device_put(d, NamedSharding(mesh, split(d))), d_output)
    with jax.set_mesh(mesh):
        return jax.jit(make(f, args, specs, mesh))(args, d_output)


def mesh(kind):
    """A mesh of all devices."""
    return jax.make_mesh((DEVICES,), (AXIS,), axis_types=(kind,))


def mixed(f, args, d_output, specs, *, of):
    """The arguments whose places are those `of` lie on an explicit mesh, the others where they came about.

    The mesh has two axes, and the features of an argument that has a batch are split too where they divide.
    """
    both = jax.make_mesh((DEVICES // 2, 2), (AXIS, "e"), axis_types=(AxisType.Explicit,) * 2)

    def put(place, x, spec):
        if not of(place) or spec == P():
            return x
        features = "e" if x.ndim == 2 and x.shape[-1] % 2 == 0 else None
        return jax.device_put(
            x, NamedSharding(both, P(AXIS, *[None] * (x.ndim - 2), *[features][: x.ndim - 1]))
        )

    args = tuple(
        jax.tree.map(functools.partial(put, place), arg, spec)
        for place, (arg, spec) in enumerate(zip(args, specs, strict=True))
    )

    @jax.jit
    def compute(args, d_output):
        return plain(f, args, jax.tree.map(lambda d, y: jax.sharding.reshard(d, like(y)), d_output, f(*args)))

    with jax.set_mesh(both):
        return compute(args, d_output)


MAKERS = {"around shard_map": around, "in shard_map": within, "whole": whole}

LAYOUTS = {
    f"{name}, {kind.name.lower()} mesh": functools.partial(run, make, mesh=mesh(kind))
    for name, make in MAKERS.items()
    for kind in (AxisType.Auto, AxisType.Explicit)
} | {
    "some arguments, explicit mesh": functools.partial(mixed, of=lambda place: place != 1),
    "other arguments, explicit mesh": functools.partial(mixed, of=lambda place: place == 1),
}

OF_A_SHARD = {
    "batch_norm": "its statistics are of the batch that it sees",
    "convnet batch_norm": "those of its norm are",
    "convnet frozen_batch_norm": "its state, which it puts out, is no shard's",
    "gpt dropout": "its dropout is",
    "dropout": "a key drawn from twice draws the same",
}
"""Ops, and kinds of them, that are something else in `shard_map`, where they see a part of the batch."""

FEWER = ("in shard_map, auto mesh", "whole, explicit mesh")


def error(found, expected):
    """The largest relative distance of a leaf."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    pairs = [
        (np.nan_to_num(a, neginf=-1.0), np.nan_to_num(b, neginf=-1.0))
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    ]
    return max(float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-300)) for a, b in pairs)


def kinds(case, everything):
    """The examples of a case with the odd batch, which `axis` leaves alone; the first of them, or all."""
    found = [e for e in case.examples if e.lead == (ODD,) and e.static.get("axis") != 0]
    return found if everything else found[:1]


def main(part, everything):
    """The JSON object, of the ops of one part of `PARTS`."""
    layouts = LAYOUTS if everything else {name: LAYOUTS[name] for name in FEWER}
    results = {}
    for name, case in list({**CASES, **MODELS}.items())[part::PARTS]:
        for example in kinds(case, everything):
            args, specs = prepared(example)
            f, reference = (
                functools.partial(g, **example.static) for g in (differentiable(case.op), case.reference)
            )
            rng = np.random.default_rng(0)
            output = jax.eval_shape(f, *args)
            d_output = jax.tree.map(lambda y, rng=rng: jnp.asarray(rng.normal(size=y.shape)), output)
            expected = jax.jit(functools.partial(plain, as_own(reference, output)))(args, d_output)
            for layout, compute in layouts.items():
                if {name, f"{name} {example.kind}"} & OF_A_SHARD.keys() and "shard_map" in layout:
                    continue
                try:
                    found = error(compute(f, args, d_output, specs), expected)
                except Exception as raised:
                    found = f"{type(raised).__name__}: {raised}"[:400]
                results[f"{name} {example.static or ''}: {layout}"] = found
    print(json.dumps(results))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:] == ["all"])
