"""Models: composites whose ops have rows of their own."""

from itertools import pairwise
from typing import Any

import jax

import jax_ref
from manual_bp import models
from manual_bp.models import convnet, gpt, mlp, recurrent
from manual_bp.norms import NORMS
from manual_bp.ops import conv, embedding, lstm, rope
from tests.cases.case import FLAT, Draw, Kind, cases
from tests.cases.linear import affine
from tests.cases.norms import gains, statistics


def _mlp(d: Draw, *widths: int) -> mlp.Params:
    return mlp.Params(tuple(affine(d, i, o) for i, o in pairwise(widths)))


def _recurrent(d: Draw, lead: tuple[int, ...], cell: str, *widths: int) -> tuple:
    """Five characters, three steps; the features of a character are the first of the widths."""
    op, batch = recurrent.CELLS[cell], lead[0]
    gates, biases = len(getattr(op, "GATES", "h")), len(op.Params._fields) - 2

    def layer(i: int, o: int) -> tuple:
        return op.Params(*(d.real(n, gates * o) for n in (i, o)), *(d.real(gates * o) for _ in range(biases)))

    def state(o: int) -> Any:
        h, c = d.real(batch, o), d.real(batch, o)
        return lstm.State(h, c) if cell == "lstm" else h  # pyright: ignore[reportArgumentType]

    table = embedding.Params(d.real(5, widths[0]))  # pyright: ignore[reportArgumentType]
    layers = tuple(layer(i, o) for i, o in pairwise(widths))
    params = recurrent.Params(table, layers, affine(d, widths[-1], 5))
    return params, tuple(state(o) for o in widths[1:]), d.labels((batch, 3), 5)


def _convnet(d: Draw, lead: tuple[int, ...], norm: str, blocks: tuple[tuple[int, ...], ...]) -> tuple:
    """Images of 5 x 4 places with two channels, kernels of 2 x 3, and three outputs."""
    made, features, op = [], 2, NORMS[norm].op
    for block in blocks:
        layers = []
        for channels in block:
            b = d.real(channels) if op is None else None
            params = conv.Params(d.real(2, 3, features, channels), b)  # pyright: ignore[reportArgumentType]
            layers.append(convnet.Layer(params, None if op is None else gains(d, op.Params, channels)))
            features = channels
        made.append(tuple(layers))
    places = {1: 4, 2: 1}[len(blocks)]
    params = convnet.Params(tuple(made), _mlp(d, places * features, 3))
    keeps = NORMS[norm].keeps_statistics
    state = tuple(tuple(statistics(d, c) if keeps else None for c in block) for block in blocks)
    return params, state, d.real(*lead, 5, 4, 2)


def _gpt(d: Draw, **form: Any) -> gpt.Params:
    """Params of two layers of two heads, five tokens; all are drawn, the gains around 1."""
    options: dict[str, Any] = {"layers": 2, "width": 4, "heads": 2, "hidden": 3} | form
    made = jax.eval_shape(lambda: gpt.init(jax.random.key(0), 5, **options))

    def drawn(path: tuple, leaf: Any) -> Any:
        near = 1.0 if getattr(path[-1], "name", "") == "g" else 0.0
        return near + 0.5 * d.real(*leaf.shape)

    return jax.tree_util.tree_map_with_path(drawn, made)


def _gpt2(d: Draw, lead: tuple[int, ...]) -> tuple:
    """Keys without a bias: it moves all scores of a query alike, so that its gradient is rounding."""
    params = _gpt(d, context=3)
    keys = params.blocks.k._replace(b=None)
    return params._replace(blocks=params.blocks._replace(k=keys)), d.labels((lead[0], 3), 5)


def _with_dropout(d: Draw, lead: tuple[int, ...]) -> tuple:
    """Neither GPT-2 nor Llama: gates and keys with a bias, and a head with one."""
    params = _gpt(d, gated=True, tied=False, key_heads=1)._replace(head=affine(d, 4, 5))
    return params, d.labels((lead[0], 3), 5), jax.random.key(int(d.labels((), 99)))


LLAMA = {"norm": "rms_norm", "gated": True, "bias": False, "tied": False, "key_heads": 1}
"""Options of `gpt.init`."""

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
        "recurrent": [
            Kind("rnn", lambda d, lead: _recurrent(d, lead, "rnn", 2, 3), {"cell": "rnn"}, leads=FLAT),
            Kind("lstm", lambda d, lead: _recurrent(d, lead, "lstm", 2, 3, 5), leads=FLAT),
            Kind("gru", lambda d, lead: _recurrent(d, lead, "gru", 2, 3), {"cell": "gru"}, leads=FLAT),
        ],
        "convnet": [
            Kind(
                "batch_norm",
                lambda d, lead: _convnet(d, lead, "batch_norm", ((3,),)),
                {"norm": "batch_norm", "momentum": 0.7},
            ),
            Kind(
                "frozen_batch_norm",
                lambda d, lead: _convnet(d, lead, "frozen_batch_norm", ((3, 3), (5,))),
                {"norm": "frozen_batch_norm", "activation": "tanh"},
                leads=FLAT,
            ),
            Kind(
                "none",
                lambda d, lead: _convnet(d, lead, "none", ((3,), (3,))),
                {"norm": "none"},
                leads=FLAT,
            ),
        ],
        "gpt": [
            Kind("gpt2", _gpt2, {"heads": 2}, leads=FLAT),
            Kind(
                "llama",
                lambda d, lead: (_gpt(d, **LLAMA), d.labels((lead[0], 3), 5)),
                {
                    "heads": 2,
                    "eps": 1e-6,
                    "rope_base": 100.0,
                    "rope_scaling": rope.Scaling(2.0),
                    "keep": "inputs",
                },
                leads=FLAT,
            ),
            Kind(
                "dropout",
                _with_dropout,
                {"heads": 2, "dropout": 0.3, "activation": "gelu", "keep": "all"},
                leads=FLAT,
            ),
        ],
    },
    (models, jax_ref.models),
)
"""Model name to its case."""
