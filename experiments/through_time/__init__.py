r"""How far back in time does the gradient of a recurrent network reach?

A sequence x_1..x_T goes through a layer of H features, and something is asked of the last output alone, so
that dh_T is a random direction of norm 1 and every other dy_t is zero. With s_t the state after step t (h,
and the LSTM's c beside it) and J_t the Jacobian of a step:

    s_t  = cell(x_t, s_{t-1}),    ds_{t-1} = J_t^T ds_t             (1)
    r    = (||dh_0|| / ||dh_T||)^(1/T)                              (2)

(1) is the backward pass of the op over one step, T times. r is the factor by which the gradient changes in a
step back, the geometric mean over the steps: below 1 it vanishes, above 1 it explodes.

The plain network has h_t = f(x_t w_x + h_{t-1} w_h), J_t^T = diag f'(z_t) w_h^T. Its w_h is normal with the
variance g^2/H, g being the gain, so that a random direction is made longer on the average by

    r ~ g (mean f'(z_t)^2)^(1/2)                                    (3)

In the gated ones the state goes through a gate: dc_{t-1} = f dc_t + ... in the LSTM, and in the GRU
dh_{t-1} = z dh_t + ... The bias b of that gate says how much it lets through before anything is learned; of
the gate alone

    r ~ s(b),    s(b) = 1/(1 + e^-b)                                (4)

and what comes by the weights is added to it.

Bengio, Simard & Frasconi 1994, doi:10.1109/72.279181; Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063; (3) is
the mean-field theory of Poole et al. 2016, arXiv:1606.05340; for (4) Gers et al. 2000,
doi:10.1162/089976600300015015.
"""

from experiments.common.study import Study
from experiments.through_time import measure, show

STUDY = Study(
    "through_time",
    measure.Settings,
    measure.measure,
    show.table,
    show.draw,
    show.sentence,
    small="--gains 0.5 --biases 1 --steps 6 --width 5 --draws 3",
)
