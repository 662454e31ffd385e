"""Work of a decoder's step, counted in its matrix products."""

from typing import Any

import numpy as np


def matmul_flops(params: Any, batch: int, tokens: int) -> int:
    """Floating point operations of a step forward and backward, each weight of a product used three times.

    Of attention the half that is causal is counted, with its products q k and p v. Nothing is counted twice
    that is made again in the backward pass.
    """
    blocks = params.blocks
    layers, width = blocks.q.w.shape[0], blocks.q.w.shape[-1]
    of_mlp = [layer.w for layer in blocks.mlp]
    weights = [blocks.q.w, blocks.k.w, blocks.v.w, blocks.out.w, *of_mlp]
    table = params.embedding.table if params.head is None else params.head.w
    per_token = sum(np.prod(w.shape) for w in [*weights, table])
    scores = layers * 2 * width * (tokens + 1) / 2
    return int(3 * 2 * batch * tokens * (per_token + scores))
