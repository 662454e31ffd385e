r"""What do gradients by hand send, keep and take on several devices, against the best a JAX user writes?

A row is one gradient on a mesh of the devices of one process, by hand and by its opponents: jax.grad of the
same computation written plainly in `shard_map`, as it is and with what helps it (one product for q, k and v;
`jax.checkpoint` with the policies that leave out the right things; one flat message for a layer's params; the
same block with its hand-written gradient inside), and the plain function, which XLA partitions itself.

    bytes     sent by a device in a step                read from the compiled program, exact
    memory    temporary, of a device                    read from the compiled program, exact
    time      of a step, taking turns                   the median of the ratios

in float32. Before that, each side is held in float64, at a small size, against the gradient of one device:
what they compare is the same. Ratios are by hand / opponent, and beside some stands the goal it was given. A
row that loses is printed as it is.

Times are those of devices which share the cores of this machine, and say nothing about a network.
"""

from experiments.common.study import Study
from experiments.parallel_benchmark import measure, show

STUDY = Study(
    "parallel_benchmark",
    measure.Settings,
    measure.measure,
    show.table,
    show.draw,
    show.sentence,
    small="--rows int8 tensor --small --rounds 1",
    long=True,
)
