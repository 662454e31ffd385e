r"""How fast does the gradient vanish, or explode, on its way back through a deep network?

B examples, I features into a layer; k = 1..d numbers the hidden layers, and d+1 is the output.

    z^k     = a^(k-1) w^k + b^k,   a^k = f(z^k),   a^0 = x                              (1)
    y       = s(z^(d+1)),   s(z) = 1/(1 + e^-z)                                         (2)
    C       = (1/B) sum_b c(y_b, t_b), the cross-entropy or 1/2 ||y_b - t_b||^2         (3)

    delta^k = dC/db^k = sum_b dC/dz_b^k, the mean of the deltas of the examples         (4)
    r       = (||delta^1|| / ||delta^d||)^(1/(d-1))                                     (5)

Nielsen calls ||delta^k|| the speed of learning of layer k. (5) is the factor by which it changes from a
hidden layer to the one before it, the geometric mean over the network: below 1 the delta vanishes.

The initialisations unit_normal (variance 1) and fan_in (variance 1/I) draw normal weights, and biases of
variance 1; the others are those of `ops.dense`, with biases of zero.

Nielsen (Neural Networks and Deep Learning, 2015, chapter 5) gives ||delta^k|| of one initialisation each
of two to four hidden layers of 30 for the first 1,000 images of MNIST. He explains them with weights of
variance 1; the program he names as their source, fig/generate_gradient.py, takes the defaults of the
book's network2.py: fan_in and the cross-entropy. `--data mnist` tries both weights with both costs.
"""

from experiments.common.study import Study
from experiments.vanishing import measure, show

STUDY = Study(
    "vanishing",
    measure.Settings,
    measure.measure,
    show.table,
    show.draw,
    show.sentence,
    small="--depths 2 --activations sigmoid --initializations near_zero --draws 5 --examples 50 --epochs 1",
)
