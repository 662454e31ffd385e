"""Leaves of a gradient by name and layer, and how far two gradients are apart in each."""

from typing import Any

import jax
import numpy as np

from experiments.common import study

OF_ROUNDING = {"blocks.k.b": "blocks.k.w"}
"""Leaves whose gradient is zero but for rounding, and those by whose norms they are judged."""


EXACT = 1e-10
"""Error of a leaf in float64 up to which it is right."""


ROUNDING = 4 * float(np.finfo(np.float32).eps)
"""Error of a leaf in float32 that tells nothing."""


def is_right(row: study.Figures) -> bool:
    """Whether a leaf is, in both dtypes."""
    return row["float64"] <= EXACT and row["float32"] <= 2 * row["autodiff_float32"] + ROUNDING


def by_name(gradient: Any) -> dict[str, np.ndarray]:
    """The leaves of a decoder's params in float64, the layers of those in `blocks` on their leading axis."""
    leaves = jax.tree_util.tree_leaves_with_path(gradient)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(x, float) for path, x in leaves
    }


def compared(exact: Any, others: dict[str, Any]) -> list[study.Figures]:
    """For each leaf of each layer, its norm in an exact gradient and its error in each other gradient."""
    reference, found = by_name(exact), {name: by_name(other) for name, other in others.items()}
    rows: list[study.Figures] = []
    for leaf in reference:
        stacked = leaf.startswith("blocks.")
        parts = {name: _layers(leaves[leaf], stacked) for name, leaves in found.items()}
        scales = _layers(reference[OF_ROUNDING.get(leaf, leaf)], stacked)
        for layer, (part, scale) in enumerate(zip(_layers(reference[leaf], stacked), scales, strict=True)):
            row = {"leaf": leaf, "layer": layer if stacked else None, "shape": list(part.shape)}
            row["norm"] = float(np.linalg.norm(part))
            for name, theirs in parts.items():
                row[name] = relative(theirs[layer] - part, scale)  # (1), (2)
            rows.append(row)
    return rows


def relative(difference: np.ndarray, scale: np.ndarray) -> float:
    """The norm of a difference over that of a scale, 0 where both are."""
    size = float(np.linalg.norm(difference))
    return size / float(np.linalg.norm(scale)) if size else 0.0


def _layers(leaf: np.ndarray, stacked: bool) -> np.ndarray:
    return leaf if stacked else leaf[None]
