r"""Which check finds a wrong gradient, and what does it cost to find none?

Every mistake of `manual_bp.textbook.errata` is planted in the same networks of sigmoids, 64-20-10-10, of
real digits; output, cost and targets are the mistake's own. The wrong gradient G trains them by

    l <- l - eta G(l; X, Y), each step on a batch drawn anew                            (1)

beside the right one, from the same initialisations, on the same batches and at the same learning rate.
Weights begin with variance 1/fan-in, biases with 1. The loss falls if the right cost of all training
examples is lower after the last step than before the first. The accuracy lost is the right gradient's test
accuracy minus the wrong one's, in points: the mean over the initialisations.

Then each check of `checks` is asked at each of the `places`. The right gradients are asked as well, one for
each output, cost and targets: a check that complains of one raises a false alarm. Of the leaves that ours
finds wrong at the start, the first on the way back is where the mistake shows first; if ours has another kind
for it than "gradient", which is said of what nothing simple explains, the mistake is named.
"""

from experiments.common.study import Study
from experiments.mistakes import measure, show

STUDY = Study(
    "mistakes",
    measure.Settings,
    measure.measure,
    show.table,
    show.draw,
    show.sentence,
    small="--only '002 bias by an elementwise product' --repeats 1 --steps 2",
)
