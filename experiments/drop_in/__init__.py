r"""What do attention and the output layer of your transformer save, once their gradients are by hand?

Of a decoder in plain JAX three lines are replaced, and no other:

    o = jax.nn.softmax(scores) @ v              o = attention(q, k, v, causal=True)
    z = h @ head                                losses = linear_cross_entropy(Params(head, None), h, targets)
    losses = -log_softmax(z)[targets]

with `attention = differentiable(ops.attention)`, and the loss alike. The left side keeps H T^2 numbers of
each layer for its backward pass and T V of the logits, the right side neither:

    plain    = O(L H T^2 + T V),    with jax.checkpoint O(H T^2 + T V)         (1)
    replaced = O(L T C),    with a smaller factor if there is jax.checkpoint, too       (2)

numbers, for T tokens, L layers of H heads and C features, and V tokens in the vocabulary. Memory is the
temporary one of the compiled step (loss and gradient), beside its arguments and results, as XLA plans it
(`compiled.memory_analysis()`): so that it is known also of a program that is too large to run. Such a one is
compiled, not run, and has no time.
"""

from experiments.common.study import Study
from experiments.drop_in import measure, show

STUDY = Study(
    "drop_in",
    measure.Settings,
    measure.measure,
    show.table,
    show.draw,
    show.sentence,
    small="--lengths 12 24 --layers 1 --width 8 --heads 2 --vocabulary 16 --rounds 1",
    long=True,
)
