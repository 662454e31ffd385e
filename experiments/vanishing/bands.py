"""The median of values over the draws, and the band that holds 90% of them."""

import numpy as np


def band(values: np.ndarray) -> dict[str, float | None]:
    """Quantiles; none where there are no values, or one is not finite."""
    if values.size == 0 or not np.all(np.isfinite(values)):
        return {"low": None, "median": None, "high": None}
    low, median, high = np.quantile(values, (0.05, 0.5, 0.95)).tolist()
    return {"low": low, "median": median, "high": high}
