r"""Is every leaf of the hand-written gradient right on weights that somebody else has trained?

The wheel of microformer-mgm holds a GPT-2 of 8 layers, 256 wide, with a head that is tied to a table of 9,669
tokens: the Microbial General Model. A text of it is a sample of microbes, whose tokens are genera, those that
are unusually abundant in it first. `--weights DIR` takes any GPT-2 or Llama in a folder as transformers
writes it, with safetensors.

The loss is the mean cross-entropy in nats over texts that the model itself draws, token by token, with its
keys and values in a cache: the wheel holds weights and names and no samples, and a folder no texts. So its
expectation is the entropy of a token, which is far below log V for a model that has learnt something, and the
same tokens in another order cost more if order matters to it.

Each leaf of each layer is judged alone. With g that leaf of the hand-written gradient and a of `jax.grad` of
the reference, a_64 in float64,

    e_64 = ||g_64 - a_64|| / ||a_64||                               (1)
    e_32 = ||g_32 - a_64|| / ||a_64||,    beside ||a_32 - a_64|| / ||a_64||         (2)

The bias of the keys moves all scores of a query alike, so that its gradient is zero, and what is computed is
rounding: there the norm of the gradient of the keys' weights is in the denominators. A leaf is right if e_64
is at most 1e-10 and e_32 at most twice what `jax.grad` has, and 4 eps.
"""

from experiments.common.study import Study
from experiments.real_gpt2 import measure, show

STUDY = Study(
    "real_gpt2",
    measure.Settings,
    measure.measure,
    show.table,
    show.draw,
    show.sentence,
    small="--sequences 1 --length 8",
    long=True,
)
