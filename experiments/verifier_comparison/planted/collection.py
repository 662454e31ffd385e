"""All right pairs and all mistakes in them, by name."""

from . import attention, elementwise, linear, losses, normalization, recurrent, sequence, spatial
from .form import Original, Planted

MODULES = (attention, elementwise, linear, losses, normalization, recurrent, sequence, spatial)

ORIGINALS: dict[str, Original] = {k: v for module in MODULES for k, v in module.ORIGINALS.items()}
MISTAKES: dict[str, Planted] = {k: v for module in MODULES for k, v in module.MISTAKES.items()}
