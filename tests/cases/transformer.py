"""What stands around attention in a transformer."""

from manual_bp.ops import gated_mlp, linear_cross_entropy, rope
from tests.cases.case import FLAT, Draw, Kind, cases
from tests.cases.linear import affine


def _gated(d: Draw, lead: tuple[int, ...], *, bias: bool) -> tuple:
    params = gated_mlp.Params(affine(d, 3, 4), affine(d, 3, 4), affine(d, 4, 2))
    if not bias:
        params = gated_mlp.Params(*(layer._replace(b=None) for layer in params))
    return params, d.real(*lead, 3)


def _fused(d: Draw, lead: tuple[int, ...], *, weights: bool, features: int = 3) -> tuple:
    params = linear_cross_entropy.Params(*affine(d, features, 5))
    args = params, d.real(*lead, features), d.labels(lead, 5)
    return (*args, d.real(*lead)) if weights else args


SLABS = 2 * linear_cross_entropy.ROWS + 3
"""Features that are two slabs and a part of one."""

CASES = cases(
    {
        "rope": [
            Kind(
                "halves", lambda d, lead: (d.real(lead[0], 3, 2, 4), d.labels((lead[0], 3), 99)), leads=FLAT
            ),
            Kind(
                "interleaved",
                lambda d, lead: (d.real(lead[0], 3, 1, 6),),
                {"interleaved": True, "base": 100.0},
                leads=FLAT,
            ),
            Kind(
                "scaled",
                lambda d, lead: (d.real(lead[0], 3, 1, 10),),
                {"base": 50.0, "scaling": rope.Scaling(3.0, 40, 1.0, 4.0)},
                leads=FLAT,
            ),
            Kind(
                "slowed",
                lambda d, lead: (d.real(lead[0], 3, 1, 4),),
                {"scaling": rope.Scaling(4.0)},
                leads=FLAT,
            ),
        ],
        "gated_mlp": [
            Kind("silu", lambda d, lead: _gated(d, lead, bias=False), leads=FLAT),
            Kind("gelu", lambda d, lead: _gated(d, lead, bias=True), {"activation": "gelu"}, leads=FLAT),
        ],
        "linear_cross_entropy": [
            Kind("plain", lambda d, lead: _fused(d, lead, weights=False), {"chunk": 3}),
            Kind("slabs", lambda d, lead: _fused(d, lead, weights=False, features=SLABS), leads=FLAT),
            Kind(
                "options",
                lambda d, lead: _fused(d, lead, weights=True),
                {
                    "chunk": 2,
                    "label_smoothing": 0.1,
                    "z_loss": 0.01,
                    "ignore_label": 1,
                    "soft_cap": 2.0,
                },
                leads=FLAT,
            ),
        ],
    }
)
