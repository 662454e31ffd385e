r"""Which paths lead from one weight to the loss, and how do they add up to its gradient?

a is the pre-activation, h the activation, h_0 = x; W_lij is the weight from neuron j of layer l-1 to neuron
i of layer l; layers, neurons and examples are counted from 1.

    a_l = W_l h_(l-1) + b_l,   h_l = g(a_l),   yhat = O(a_L),   L(yhat, y)              (1)

A path is one neuron of each later layer and one output o: i_l = i, i_(l+1), ..., i_L, o. It contributes

    p = dL/dyhat_o  dyhat_o/da_L,i_L  [prod_(k=l+1..L) W_k,i_k,i_(k-1) g'(a_(k-1),i_(k-1))]  h_(l-1),j   (2)
    dL/dW_lij = sum over the paths of p                                                 (3)
    cancelled = 1 - |sum p| / sum |p|                                                   (4)

Their number grows as the product of the widths; backpropagation gets (3) without them. With the
cross-entropy and the one-hot target of a class, every path that ends in another class is 0.
"""

from experiments.common.study import Study
from experiments.one_weight import measure, picture, show

STUDY = Study(
    "one_weight",
    measure.Settings,
    measure.measure,
    show.table,
    picture.draw,
    show.sentence,
    small="--widths 4 2 3 --weight 2 1 1",
)
