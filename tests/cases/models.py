"""Models: composites whose ops have rows of their own."""

from itertools import pairwise

import jax_ref
from manual_bp import models
from manual_bp.models import mlp
from tests.cases.case import FLAT, Draw, Kind, cases
from tests.cases.linear import affine


def _mlp(d: Draw, *widths: int) -> mlp.Params:
    return mlp.Params(tuple(affine(d, i, o) for i, o in pairwise(widths)))


MODELS = cases(
    {
        "mlp": [
            Kind("deep", lambda d, lead: (_mlp(d, 5, 4, 6, 3), d.real(*lead, 5)), {"activation": "tanh"}),
            Kind(
                "output_activation",
                lambda d, lead: (_mlp(d, 5, 4, 3), d.real(*lead, 5)),
                {"activation": "gelu", "output_activation": "sigmoid"},
                leads=FLAT,
            ),
            Kind(
                "kink",
                lambda d, lead: (_mlp(d, 5, 4, 3), d.real(*lead, 5)),
                {"activation": "relu"},
                leads=FLAT,
            ),
            Kind(
                "one_layer",
                lambda d, lead: (_mlp(d, 5, 3), d.real(*lead, 5)),
                {"output_activation": "softplus"},
                leads=FLAT,
            ),
        ],
    },
    (models, jax_ref.models),
)
"""Model name to its case."""
