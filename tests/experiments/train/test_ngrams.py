"""N-gram models: a case by hand, and a reader of dictionaries."""

import collections

import numpy as np
import pytest

from experiments.train import ngrams


def test_by_hand():
    """Trained on abab a: c(a) = 3, c(b) = 2, c(ab) = c(ba) = 2; the b that follows is known, c is new."""
    ids = np.array([0, 1, 0, 1, 0, 1, 2])
    p = ngrams.probabilities(ids, 5, 3, 2)
    b1, c1 = (2 + 2 / 3) / (5 + 2), (0 + 2 / 3) / (5 + 2)  # five characters of two kinds; p_0 = 1/3
    np.testing.assert_allclose(p[0], [b1, c1], rtol=1e-15)
    b2, c2 = (2 + 1 * b1) / (2 + 1), (0 + 1 * c1) / (2 + 1)  # a was followed twice, by b; b twice, by a
    np.testing.assert_allclose(p[1], [b2, c2], rtol=1e-15)
    found = ngrams.bits(ids[:5], [ids[5:6], ids[6:]], 3, (1, 2))
    assert found[0] == pytest.approx({1: -np.log2(b1), 2: -np.log2(b2)})
    assert found[1] == pytest.approx({1: -np.log2(c1), 2: -np.log2(c2)})


def test_against_dictionaries():
    rng = np.random.default_rng(0)
    ids, trained, vocabulary = rng.integers(0, 4, 300), 230, 5
    ids[-3:] = 4  # unknown in training
    padded = [-1] * 4 + ids.tolist()
    followed = collections.defaultdict(collections.Counter)
    for i in range(4, 4 + trained):
        for n in range(1, 6):
            followed[tuple(padded[i - n + 1 : i])][padded[i]] += 1

    def p(i, n):
        if n == 0:
            return 1 / vocabulary
        after = followed.get(tuple(padded[i - n + 1 : i]))
        if not after:
            return p(i, n - 1)
        return (after[padded[i]] + len(after) * p(i, n - 1)) / (after.total() + len(after))

    expected = [[p(i, n) for i in range(4 + trained, len(padded))] for n in range(1, 6)]
    np.testing.assert_allclose(ngrams.probabilities(ids, trained, vocabulary, 5), expected, rtol=1e-13)


def test_probabilities_sum_to_one():
    trained = np.random.default_rng(0).integers(0, 4, 50)
    each = [ngrams.probabilities(np.append(trained, c), 50, 4, 5)[:, 0] for c in range(4)]
    np.testing.assert_allclose(np.sum(each, axis=0), 1, rtol=1e-14)
