"""What the commands import that the two libraries do not: the packages of the extra `experiments`.

Asked for before anything is imported, as one that is missing would be a traceback in the middle of it.
"""

import sys
from importlib.util import find_spec

PACKAGES = (
    "absl", "chex", "jax", "jaxtyping", "matplotlib", "numpy", "optax", "orbax", "rich", "safetensors",
    "sklearn",
)  # fmt: skip
"""The names they are imported by."""


def demand() -> None:
    """End the process with one sentence if a package is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        print(
            f"error: the experiments need {', '.join(missing)}, not installed here: "
            "pip install -e '.[experiments]' in the clone brings all they need.",
            file=sys.stderr,
        )
        sys.exit(2)
