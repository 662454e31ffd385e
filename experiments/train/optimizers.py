"""Optimisers by name, and a learning rate of its own for every weight."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.common.errors import UserError, choose

OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adagrad": optax.adagrad,
    "adam": optax.adam,
    "adamw": optax.adamw,
    "lion": optax.lion,
    "momentum": lambda rate, **_: optax.sgd(rate, momentum=0.9),
    "nesterov": lambda rate, **_: optax.sgd(rate, momentum=0.9, nesterov=True),
    "rmsprop": optax.rmsprop,
    "sgd": optax.sgd,
}

DECOUPLED = ("adamw", "lion")
"""Those whose weight decay is their own; with the others it is an L2 term of the gradient."""

SCHEDULES = {
    "constant": lambda rate, steps: rate,
    "cosine": lambda rate, steps: optax.cosine_decay_schedule(rate, steps),
}


def build(
    name: str,
    learning_rate: float,
    *,
    schedule: str,
    steps: int,
    weight_decay: float,
    rates: Any | None,
) -> optax.GradientTransformation:
    """The optimiser of the settings; `rates` multiplies its step, weight by weight."""
    make = OPTIMIZERS[choose("--optimizer", name, OPTIMIZERS)]
    rate = SCHEDULES[choose("--schedule", schedule, SCHEDULES)](learning_rate, steps)
    if name in DECOUPLED:
        parts = [make(rate, weight_decay=weight_decay)]
    else:
        parts = [optax.add_decayed_weights(weight_decay)] if weight_decay else []
        parts.append(make(rate))
    if rates is not None:
        parts.append(scale_by_rates(rates))
    return optax.chain(*parts)


def scale_by_rates(rates: Any) -> optax.GradientTransformation:
    """Multiply each update by the entry of `rates`, a pytree like the params; 0 freezes a weight."""
    return optax.stateless(
        lambda updates, _: jax.tree.map(lambda u, r: u * r.astype(u.dtype), updates, rates)
    )


def read_rates(rule: str, params: Any) -> Any | None:
    """The multipliers of the learning rate by a rule or from a file, as a pytree like `params`.

    `uniform` (None), `inverse_fan_in` (weights by 1/inputs), `layers:1,0.1,...` (one number a layer), or
    a `.npz` file with an array for every param, named as in `layers.0.w`.
    """
    if rule == "uniform":
        return None
    if rule == "inverse_fan_in":
        return jax.tree.map(lambda p: jnp.full_like(p, 1 / p.shape[0] if p.ndim > 1 else 1), params)
    if rule.startswith("layers:"):
        return _by_layer(rule.removeprefix("layers:"), params)
    if rule.endswith(".npz"):
        return _from_file(Path(rule), params)
    raise UserError(
        f"--rates was {rule!r}; expected uniform, inverse_fan_in, layers:1,0.1,... or a .npz file."
    )


def _by_layer(numbers: str, params: Any) -> Any:
    try:
        each = [float(number) for number in numbers.split(",")]
    except ValueError:
        raise UserError(f"--rates was layers:{numbers}; expected numbers, as in 1,0.1.") from None
    if len(each) != len(params.layers):
        raise UserError(f"--rates has {len(each)} numbers; the model has {len(params.layers)} layers.")
    layers = [
        jax.tree.map(lambda p, r=rate: jnp.full_like(p, r), layer)
        for rate, layer in zip(each, params.layers, strict=True)
    ]
    return params._replace(layers=tuple(layers))


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
