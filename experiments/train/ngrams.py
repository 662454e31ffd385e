r"""N-gram models of text with Witten-Bell smoothing.

h are the n - 1 characters before c, h' the same without the first; c(h) is how often h was seen in training,
c(hc) how often followed by c, and t(h) by how many different characters.

    p_n(c | h) = (c(hc) + t(h) p_{n-1}(c | h')) / (c(h) + t(h)),    p_{n-1}(c | h') for h never seen    (1)
    p_0(c)     = 1/V                                                (2)
    bits       = -mean log2 p_n                                     (3)

Witten & Bell 1991, doi:10.1109/18.87000.
"""

from collections.abc import Sequence

import numpy as np


def probabilities(ids: np.ndarray, trained: int, vocabulary: int, order: int) -> np.ndarray:
    """(1) of orders 1 to `order`, (order, N - trained), of the characters behind the first `trained`.

    The counts are those of the first `trained`. A text begins behind characters that are in none.
    """
    here = ids[trained:]
    p = np.full(len(here), 1 / vocabulary)  # (2)
    found = []
    before = np.zeros(len(ids), np.int64)  # the number of each character's h: there is one of no characters
    for _ in range(order):
        gram, number = np.unique(before * vocabulary + ids, return_inverse=True)
        seen = np.bincount(number[:trained], minlength=len(gram))
        contexts = before.max() + 1
        total = np.bincount(before[:trained], minlength=contexts)
        kinds = np.bincount(gram[seen > 0] // vocabulary, minlength=contexts)
        of_h, t = total[before[trained:]], kinds[before[trained:]]
        p = np.where(of_h > 0, (seen[number[trained:]] + t * p) / np.maximum(of_h + t, 1), p)  # (1)
        found.append(p)
        before = np.concatenate([[0], number[:-1] + 1])
    return np.stack(found)


def bits(
    train: np.ndarray, held_out: Sequence[np.ndarray], vocabulary: int, orders: Sequence[int]
) -> list[dict[int, float]]:
    """(3) by order for each of the parts held out, which follow the training text one after the other."""
    ids = np.concatenate([train, *held_out])
    surprise = -np.log2(probabilities(ids, len(train), vocabulary, max(orders)))
    ends = np.cumsum([len(part) for part in held_out])[:-1]
    return [
        {order: float(np.mean(part[order - 1])) for order in orders}
        for part in np.split(surprise, ends, axis=1)
    ]
