"""From the letters of words to their phonemes, many words at a time."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from experiments.pronounce.weights import Weights
from manual_bp.ops import dense, embedding, gru

PHONEMES = (
    "<pad>", "<unk>", "<s>", "</s>", "AA0", "AA1", "AA2", "AE0", "AE1", "AE2", "AH0", "AH1", "AH2",
    "AO0", "AO1", "AO2", "AW0", "AW1", "AW2", "AY0", "AY1", "AY2", "B", "CH", "D", "DH", "EH0", "EH1",
    "EH2", "ER0", "ER1", "ER2", "EY0", "EY1", "EY2", "F", "G", "HH", "IH0", "IH1", "IH2", "IY0", "IY1",
    "IY2", "JH", "K", "L", "M", "N", "NG", "OW0", "OW1", "OW2", "OY0", "OY1", "OY2", "P", "R", "S",
    "SH", "T", "TH", "UH0", "UH1", "UH2", "UW", "UW0", "UW1", "UW2", "V", "W", "Y", "Z", "ZH",
)  # fmt: skip
"""By their numbers; a digit is the stress of a vowel: none, the first, the second."""

START, END = PHONEMES.index("<s>"), PHONEMES.index("</s>")

LETTERS_END, LETTER_A = 2, 3
"""The number of the end of a word, and that of the letter a."""

LONGEST = 20
"""Phonemes that are said of a word at most."""


def spelled(words: Sequence[str]) -> tuple[Int[Array, "B T"], Int[Array, "B"]]:
    """The numbers of the letters a to z of each word with its end behind them, and how many these are."""
    lengths = np.array([len(word) + 1 for word in words], np.int32)
    ids = np.full((len(words), max(lengths)), LETTERS_END, np.int32)
    for row, word in zip(ids, words, strict=True):
        row[: len(word)] = [ord(letter) - ord("a") + LETTER_A for letter in word]
    return jnp.asarray(ids), jnp.asarray(lengths)


@jax.jit
def said(
    weights: Weights, ids: Int[Array, "B T"], lengths: Int[Array, "B"]
) -> tuple[Int[Array, "B P"], Float[Array, "B P V"]]:
    """The likeliest phoneme after each other, and the logits that it was chosen by."""
    x, _ = embedding.fwd(weights.letters, ids)
    start = jnp.zeros((len(ids), weights.encoder.w_h.shape[0]), x.dtype)
    (_, heard), _ = gru.fwd(weights.encoder, x, start, lengths)

    def step(carry: tuple[Array, Array], _none: None) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        last, state = carry
        x, _ = embedding.fwd(weights.phonemes, last[:, None])
        (ys, state), _ = gru.fwd(weights.decoder, x, state)
        logits, _ = dense.fwd(weights.head, ys[:, 0])
        best = jnp.argmax(logits, -1).astype(last.dtype)
        return (best, state), (best, logits)

    first = jnp.full(len(ids), START, ids.dtype)
    _, (phonemes, logits) = jax.lax.scan(step, (first, heard), length=LONGEST)
    return phonemes.T, jnp.swapaxes(logits, 0, 1)


def pronounced(weights: Weights, words: Sequence[str]) -> list[list[str]]:
    """The phonemes of each word, up to where the network says that it ends."""
    rows = np.asarray(said(weights, *spelled(words))[0]).tolist()
    return [[PHONEMES[i] for i in row[: row.index(END) if END in row else None]] for row in rows]
