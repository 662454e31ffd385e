r"""Why does a saturated sigmoid learn slowly with the quadratic cost, and not with cross-entropy?

An output neuron a = s(z) = 1/(1 + e^-z) with target t; dz = dC/dz is its delta.

    quadratic       C = (a - t)^2 / 2                        dz = (a - t) s'(z)       (1)
    cross-entropy   C = -t log a - (1 - t) log(1 - a)        dz = a - t               (2)

Their quotient is s'(z) = a (1 - a), which vanishes where the neuron is saturated, right or wrong.

One neuron z = w x + b with x = 1, t = 0 takes steps of

    dw = x dz,   db = dz,    w <- w - eta dw,   b <- b - eta db                       (3)

For small eta that is dz/dn = -2 eta a^2 (1 - a) with (1) and -2 eta a with (2) after n epochs: from z >> 1
it takes about e^z/(2 eta) epochs to a = 1/2 with the quadratic cost and z/(2 eta) with cross-entropy. One
eta for two costs is a convention; for any small eta (2)'s gradient is largest at the start, and (1)'s, which
is a^2 (1 - a), at a = 2/3. So the gradient at the start is reported relative to its largest on the way.

In a network of sigmoids with layers k = 1..L, the deltas below (1) or (2) are

    dz^k = s'(z^k) (w^(k+1) dz^(k+1)),                                                (4)

so that what s' takes from the output's delta, every layer lacks. The easy start is an ordinary one (Glorot,
biases zero); the bad one has output biases so large that every output is 1, nine of ten wrongly. An output
that stays there wins every argmax: the accuracy waits for the last to come down.

Nielsen 2015, Neural Networks and Deep Learning, chapter 3.
"""

from experiments.common.study import Study
from experiments.saturation import measure, show

STUDY = Study(
    "saturation",
    measure.Settings,
    measure.measure,
    show.table,
    show.draw,
    show.sentence,
    small="--epochs 2 --inits 1 --neuron-epochs 3 --hidden 5",
)
