r"""How small should the step of a numerical derivative be, and what do the kinks of relu do to it?

The derivative f' of the mean loss f of a network along a direction v, estimated with a step h by the
differences of `experiments.common.numerical`, is wrong by what Taylor's series leaves out and by rounding:

    forward        h |f''| / 2     + eps |f| / h      least at h* = (2 eps |f| / |f''|)^(1/2)       (1)
    central        h^2 |f'''| / 6  + eps |f| / h      least at h* = (3 eps |f| / |f'''|)^(1/3)      (2)
    complex step   h^2 |f'''| / 6  + eps |f'|         flat below h* = (6 eps |f'| / |f'''|)^(1/2)   (3)

With all derivatives of order one, h* is the textbook's eps^(1/2), of (2) eps^(1/3). Here v are random unit
vectors, along which a network of P parameters bends little, so that h* is larger. The truth is the
hand-written gradient in float64 at the float32 network's own parameters, inputs and directions. Errors are
relative to |grad f| / P^(1/2), the root mean square (RMS) of f' over all unit vectors.

With relu, f is smooth only between kinks. A step of +-h along v takes the pre-activation z_bj of example b
and hidden unit j through zero if |z_bj| < h |dz_bj|, where dz_bj, its derivative along v, is about normal
with the variance (|x_b|^2 + 1) / P. The chances p_bj of a kink, and of any if all were independent, are

    p_bj = erfc(|z_bj| / (h (2 (|x_b|^2 + 1) / P)^(1/2))),      p = 1 - prod_bj (1 - p_bj).         (4)

The number n of kinks grows with h and with the B examples of a mean loss, of which each bends 1/B, up or
down. Many put the central difference wrong by about n^(1/2) / B or (h / B)^(1/2), which falls slowly with h.

Squire & Trapp 1998, SIAM Review 40(1), 110-112 (complex step).
"""

from experiments.common.study import Study
from experiments.step_size import measure, show

STUDY = Study(
    "step_size",
    measure.Settings,
    measure.measure,
    show.table,
    show.draw,
    show.sentence,
    small="--directions 3 --examples 2 --batch-sizes 2 --kink-steps 0.1",
)
