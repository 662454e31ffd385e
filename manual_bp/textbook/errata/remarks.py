"""The errors of the notes that are no code, as a program cannot make them."""

from manual_bp.textbook.errata.mistake import Remark

REMARKS = {
    "000 one letter for two costs": Remark(
        "000, Loss Function",
        "E for the loss of one instance and for that of a batch",
        "two names; here they are `squared_error` and `batch_squared_error`",
        "nothing, if the reader knows which one is meant",
    ),
    "000 z used twice": Remark(
        "000, Loss Function and Chain Rule",
        "z for the network's output x3, and again for any function f(y)",
        "x3 for the output",
        "nothing, if the reader keeps them apart",
    ),
    "001 L and l not linked": Remark(
        "001, Gradient Descent and Backpropagation",
        "L of all examples in the descent, l of one in the chain rule, and nothing between them",
        "L = (1/N) sum of l",
        'N times too large if L is the sum and taken for the mean: "002 cost factor dropped"',
    ),
    "002 cost by the letter of the loss": Remark(
        "002, Cost Function",
        "L = c sum_k L_k, with the parameters' set for l = 1:K",
        "C = c sum_k L_k, and l = 1:L; K is no depth",
        "nothing, if the reader knows the depth",
    ),
    "002 layers on the entries of a vector": Remark(
        "002, Vectorizing Weight Gradient",
        "a^(k-1) = [a^(1), a^(2), ..., a^(K)], where a superscript is a layer",
        "[a_1, a_2, ..., a_K]",
        "neurons read as layers",
    ),
    "003 index too many": Remark(
        "003, the derivative by W_111",
        "a_L11",
        "a_L1: layer and neuron; a third index belongs to weights",
        "one index",
    ),
    "003 gradient without its time": Remark(
        "003, the update rule",
        "theta_(t+1) = theta_t - eta grad L(theta)",
        "grad L(theta_t)",
        "nothing, if the gradient is taken where the parameters are",
    ),
    "004 unfinished proofs": Remark(
        "004, proof of equation 2 and after",
        "the proof of (2) stops half way, (3) and (4) have none",
        "the docstring of `four_equations`, (1a) to (5)",
        "half a page",
    ),
    "004 another page's text": Remark(
        "004, left over below",
        "x = y^2, and a paragraph on simplex noise",
        "nothing",
        "a paragraph that is about something else",
    ),
}
