"""The parts of a model's params by name, as they are shown: its layers where it has them.

The fields of the params are parts (`embedding`), of a tuple each entry is one (`layers.0`), and of a field
whose leaves hold several layers along their leading axis, each layer (`blocks.0`).
"""

from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp

FEW = 8
"""Parts up to which each is shown; of more the table has the largest number, and the picture a heat map."""


def parts(tree: Any, stacked: Collection[str] = ()) -> dict[str, Any]:
    """The parts of `tree`, a NamedTuple of params or like it; those of the fields `stacked` by layer."""
    found = {}
    for field, value in tree._asdict().items():
        for name, part in _of_field(field, value, field in stacked).items():
            if jax.tree.leaves(part):
                found[name] = part
    return found


def mapped(change: Callable[[str, Any], Any], tree: Any, stacked: Collection[str] = ()) -> Any:
    """`tree` with `change(name, part)` in place of each of its parts."""

    def of_field(field: str, value: Any) -> Any:
        named = _of_field(field, value, field in stacked)
        changed = [change(name, part) if jax.tree.leaves(part) else part for name, part in named.items()]
        if field in stacked:
            return jax.tree.map(lambda *layers: jnp.stack(layers), *changed)
        return tuple(changed) if _is_sequence(value) else changed[0]

    return type(tree)(**{field: of_field(field, value) for field, value in tree._asdict().items()})


def _of_field(field: str, value: Any, is_stacked: bool) -> dict[str, Any]:
    if is_stacked:
        layers = len(jax.tree.leaves(value)[0])
        return {f"{field}.{i}": jax.tree.map(lambda x, i=i: x[i], value) for i in range(layers)}
    if _is_sequence(value):
        return {f"{field}.{i}": part for i, part in enumerate(value)}
    return {field: value}


def _is_sequence(value: Any) -> bool:
    return isinstance(value, tuple) and not hasattr(value, "_fields")
