"""scikit-learn's handwritten digits, which come with the package."""

import numpy as np

from experiments.data.splits import Dataset, Split, checked


def load() -> Dataset:
    """1,797 images of 8 x 8 with values 0..1: four fifths to train on, a fifth to test on."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    train, test = train_test_split(np.arange(len(y)), test_size=0.2, random_state=0, stratify=y)
    images = x.reshape(-1, 8, 8) / 16
    return checked(Split(images[train], y[train]), Split(images[test], y[test]))
