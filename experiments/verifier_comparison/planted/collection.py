"""All right pairs and all mistakes in them, by name."""

from . import (
    algebra,
    attention,
    elementwise,
    linear,
    losses,
    mixing,
    normalization,
    recurrent,
    routing,
    sequence,
    spatial,
    statistics,
)
from .form import Original, Planted

MODULES = (
    algebra,
    attention,
    elementwise,
    linear,
    losses,
    mixing,
    normalization,
    recurrent,
    routing,
    sequence,
    spatial,
    statistics,
)

ORIGINALS: dict[str, Original] = {k: v for module in MODULES for k, v in module.ORIGINALS.items()}
MISTAKES: dict[str, Planted] = {k: v for module in MODULES for k, v in module.MISTAKES.items()}
