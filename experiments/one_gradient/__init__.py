r"""Are the gradients of five notes on backpropagation one gradient, and what does each form of it cost?

`experiments.one_gradient.ways` has the gradients, their multiplications and the difference of two. Why does
nobody sum over paths? With all widths n, the vector form and the index form of L layers multiply

    (3 L - 1) n^2                                                                           (1)

times for the whole gradient, while a single weight of the first layer has with softmax, or without it,

    n^L  or  n^(L-1)                                                                        (2)

paths: a higher power of the width, and exponential in the depth. So where networks grow, those two forms are
timed on the whole gradient of one example, the path form on one weight, with its routes listed beforehand.
Growth is fitted over the larger half of the sizes, by least squares of log seconds: on log n, where the slope
is the exponent, or on the depth, as a factor for each layer.
"""

from experiments.common.study import Study
from experiments.one_gradient import measure, show

STUDY = Study(
    "one_gradient",
    measure.Settings,
    measure.measure,
    show.table,
    show.draw,
    show.sentence,
    small="--hidden 2 --examples 1 --path-widths 2 3 --index-widths 2 3 --vector-widths 2 3 --depths 1 2 "
    "--rounds 1",
    long=True,
)
