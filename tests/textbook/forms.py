"""The single-example gradient of each note, by the note's number."""

from typing import Any

import jax

from manual_bp.textbook import four_equations, index_and_vector_forms, paths, two_passes
from manual_bp.textbook.columns import Network


def _augmented(layers: Network, x: jax.Array, y: jax.Array, **names: Any) -> Network:
    augmented = tuple(map(index_and_vector_forms.augment, layers))
    gradient = index_and_vector_forms.augmented_form(augmented, x, y, **names)
    return tuple(map(index_and_vector_forms.split, gradient))


SINGLE = {
    "001": two_passes.gradient,
    "002 index": index_and_vector_forms.index_form,
    "002 vector": index_and_vector_forms.gradient,
    "002 augmented": _augmented,
    "003 paths": paths.gradient,
    "004": four_equations.gradient,
}
