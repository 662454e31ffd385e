r"""What do the hand-written gradients send between devices, and are they those of one device?

Processes of `jax.distributed` work on one mesh. Each kind of parallelism differentiates the same stack of
blocks, with the mean of squares as its cost, and has something else over the devices:

    data        examples                    one sum of all gradients
    fsdp        examples, and params        gather, gather again, scatter
    tensor      heads, hidden features      sums forward and backward in each block
    sequence    time                        k and v round the ring; then they or q and do, with cotangents
    pipeline    blocks                      x to the next stage, dx to the one before
    private     examples                    one sum of clipped gradients; noise is drawn once and not sent

Each is held against the gradient of one device in float64. What a program sends is read from its text as XLA
has compiled it, with bytes as the best known algorithms need them: an all-reduce of b bytes by n devices is
2 (n - 1)/n b for each of them (`wire`). It is compared with jax.grad of the same forward in `shard_map`, and
with the plain function whose arguments lie on the mesh in the same way.

Times are not measured: processes of one machine share its cores.
"""

from experiments.common.study import Study
from experiments.parallel import measure, show

STUDY = Study(
    "parallel",
    measure.Settings,
    measure.measure,
    show.table,
    show.draw,
    show.sentence,
    small="--processes 2 --devices-per-process 2 --model mlp",
)
