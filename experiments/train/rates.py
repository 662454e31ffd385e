"""Learning rates of single weights: a factor for each, by a rule, by layer, or from a file."""

import math
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.common.errors import UserError
from experiments.train.parts import mapped, parts


def scale_by(rates: Any) -> optax.GradientTransformation:
    """Multiply each update by the entry of `rates`, a pytree like the params; 0 freezes a weight."""
    return optax.stateless(
        lambda updates, _: jax.tree.map(lambda u, r: u * r.astype(u.dtype), updates, rates)
    )


def read(rule: str, params: Any, stacked: frozenset[str] = frozenset()) -> Any | None:
    """The factors by a rule or from a file, as a pytree like `params`.

    `uniform` (None), `inverse_fan_in` (weights by 1/inputs), `layers:1,0.1,...` (a number for each of the
    model's parts), or a `.npz` file with an array for every param, named as in `layers.0.w`.
    """
    if rule == "uniform":
        return None
    if rule == "inverse_fan_in":
        return mapped(lambda _, part: jax.tree.map(_inverse_fan_in, part), params, stacked)
    if rule.startswith("layers:"):
        return _by_layer(rule.removeprefix("layers:"), params, stacked)
    if rule.endswith(".npz"):
        return _from_file(Path(rule), params)
    raise UserError(
        f"--rates was {rule!r}; expected uniform, inverse_fan_in, layers:1,0.1,... or a .npz file."
    )


def _inverse_fan_in(p: jax.Array) -> jax.Array:
    """One over the inputs of each output: all axes of a kernel but the last."""
    return jnp.full_like(p, 1 / math.prod(p.shape[:-1]) if p.ndim > 1 else 1)


def _by_layer(numbers: str, params: Any, stacked: frozenset[str]) -> Any:
    try:
        each = [float(number) for number in numbers.split(",")]
    except ValueError:
        raise UserError(f"--rates was layers:{numbers}; expected numbers, as in 1,0.1.") from None
    names = list(parts(params, stacked))
    if len(each) != len(names):
        raise UserError(
            f"--rates has {len(each)} numbers; the model has {len(names)} layers: {', '.join(names)}."
        )
    rates = dict(zip(names, each, strict=True))
    return mapped(
        lambda name, part: jax.tree.map(lambda p: jnp.full_like(p, rates[name]), part), params, stacked
    )


def _from_file(path: Path, params: Any) -> Any:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise UserError(f"--rates: {path} cannot be read: {error}.") from None

    def pick(key: Any, leaf: jax.Array) -> jax.Array:
        name = jax.tree_util.keystr(key, simple=True, separator=".")
        if name not in arrays:
            raise UserError(f"--rates: {path} has no array {name}; it has {', '.join(arrays)}.")
        found = arrays.pop(name)
        if found.shape != leaf.shape:
            raise UserError(f"--rates: {name} in {path} has shape {found.shape}; expected {leaf.shape}.")
        if not np.all(np.isfinite(found)):
            raise UserError(f"--rates: {name} in {path} has a value that is not finite.")
        return jnp.asarray(found, leaf.dtype)

    rates = jax.tree_util.tree_map_with_path(pick, params)
    if arrays:
        raise UserError(f"--rates: {path} has arrays of no param: {', '.join(arrays)}.")
    return rates
