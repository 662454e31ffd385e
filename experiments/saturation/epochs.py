"""The epoch in which something first holds, as a median over several networks."""

import numpy as np


def first(found: np.ndarray) -> float | None:
    """The median over the rows of `found` of the first epoch in which it holds; `None` if that is never."""
    median = float(np.median(np.where(np.any(found, -1), np.argmax(found, -1), np.inf)))
    return median if np.isfinite(median) else None
