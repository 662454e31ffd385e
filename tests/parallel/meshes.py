"""Meshes of the devices here, functions on them, and what compiled programs send."""

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from experiments.parallel import wire


def mesh(**sizes):
    """A mesh of the first devices, with axes of these names and sizes."""
    count = int(np.prod([*sizes.values()]))
    devices = np.array(jax.devices()[:count]).reshape([*sizes.values()])
    return jax.sharding.Mesh(devices, tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))


def on(mesh, f, in_specs, out_specs, *, check_vma=True):
    """`f` on each device of a mesh, compiled."""
    return jax.jit(jax.shard_map(f, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=check_vma))


def put(tree, specs, mesh):
    """A tree on a mesh."""
    return jax.device_put(tree, jax.tree.map(lambda s: NamedSharding(mesh, s), specs, is_leaf=is_spec))


def is_spec(x):
    return isinstance(x, P)


def compiled(f, *args):
    """The program of a function on a mesh for arguments like these: it may be called, and read."""
    return f.lower(*args).compile()


def sent(program):
    """The collectives of a compiled program."""
    return wire.sent(program.as_text(), jax.device_count())


def copies(x):
    """A replicated array as each device has it."""
    return [np.asarray(shard.data) for shard in x.addressable_shards]
