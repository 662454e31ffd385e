"""The errors of note 001, two passes, that make a wrong gradient."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array

from manual_bp.textbook.errata.mistake import Mistake
from manual_bp.textbook.errata.steps import CROSS_ENTROPY, QUADRATIC, by


def _elementwise(z: Sequence[Array], a: Sequence[Array], Y: Array) -> Array:
    p = a[-1]
    return p * (1 - p) * (-Y / p)


MISTAKES = {
    "001 output rule elementwise": Mistake(
        "001, output layer; a classic: the Jacobian of softmax by its diagonal",
        "dl/dz_1 = dy_1/dz_1 dl/dy_1 with softmax and cross-entropy",
        "dl/dz_j = sum_k dy_k/dz_j dl/dy_k",
        "output delta 0 on every wrong class, right on the true one",
        by(CROSS_ENTROPY, output_delta=_elementwise),
        "softmax",
        "cross_entropy",
    ),
    "001 bias factor omitted": Mistake(
        "001, forward pass",
        "dz/dw for all parameters, without dz/db",
        "dz/db = 1",
        "db = 0",
        by(QUADRATIC, bias_gradient=lambda D: jnp.zeros_like(D[:, 0])),
    ),
}
