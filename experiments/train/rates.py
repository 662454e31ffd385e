"""Learning rates of single weights: a factor for each, by a rule, by layer, or from a file."""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.common.errors import UserError
from experiments.data import npz
from experiments.train.parts import mapped, parts


def scale_by(rates: Any) -> optax.GradientTransformation:
    """Multiply each update by the entry of `rates`, a pytree like the params; 0 freezes a weight."""
    return optax.stateless(
        lambda updates, _: jax.tree.map(lambda u, r: u * r.astype(u.dtype), updates, rates)
    )


def read(rule: str, params: Any, stacked: frozenset[str] = frozenset()) -> Any | None:
    """The factors by a rule or from a file, as a pytree like `params`.

    `uniform` (None), `inverse_fan_in` (weights by 1/inputs), `layers:1,0.1,...` (a number for each of the
    model's parts), or a `.npz` file with an array for every param, named as in `layers.0.w`. Each is
    finite and at least 0.
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

    def fill(name: str, part: Any) -> Any:
        return jax.tree.map(lambda p: jnp.full_like(p, _factors(np.array(rates[name]), p, name)), part)

    return mapped(fill, params, stacked)


def _from_file(path: Path, params: Any) -> Any:
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    named = {jax.tree_util.keystr(key, simple=True, separator="."): leaf for key, leaf in leaves}
    try:
        found = npz.read(path, {name: leaf.shape for name, leaf in named.items()})
    except UserError as error:
        raise UserError(f"--rates: {error}") from None
    rates = [jnp.asarray(_factors(found[name], leaf, f"{name} in {path}")) for name, leaf in named.items()]
    return jax.tree.unflatten(structure, rates)


def _factors(found: np.ndarray, leaf: jax.Array, where: str) -> np.ndarray:
    """The factors in the dtype of the leaf, where each must be a number, not too large, and not negative."""
    with np.errstate(over="ignore", invalid="ignore"):
        factors = found.astype(leaf.dtype)
    wrong = ~((factors >= 0) & np.isfinite(factors))
    if np.any(wrong):
        value = found.reshape(-1)[np.argmax(wrong)]
        state = "negative" if value < 0 else "too large" if np.isfinite(value) else "not finite"
        raise UserError(
            f"--rates: {where} has the value {value}, which is {state}; expected a number from 0 up, "
            f"in {leaf.dtype}."
        )
    return factors
