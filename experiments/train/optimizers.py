"""Optimisers and learning-rate schedules of Optax by name."""

from collections.abc import Callable
from typing import Any

import optax

from experiments.common.errors import UserError, choose
from experiments.train.rates import scale_by

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

MOST_STEPS = 2**31 - 1
"""What Optax counts to."""


def build(
    name: str,
    learning_rate: float,
    *,
    schedule: str,
    steps: int,
    weight_decay: float,
    rates: Any | None,
    clip_norm: float | None = None,
    warmup_steps: int = 0,
    decayed: Callable[[Any], Any] | None = None,
) -> optax.GradientTransformation:
    """The optimiser of the settings: `clip_norm` bounds the gradient that it is given, the norm of all params
    together; `rates` multiplies its step, weight by weight. The learning rate rises from 0 through the first
    `warmup_steps`, behind which the schedule begins; `decayed` says which leaves have weight decay.
    """
    if steps > MOST_STEPS:
        raise UserError(f"--epochs has {steps:,} steps in all; expected at most {MOST_STEPS:,}.")
    make = OPTIMIZERS[choose("--optimizer", name, OPTIMIZERS)]
    if warmup_steps >= steps > 0 and warmup_steps:
        raise UserError(f"--warmup-steps was {warmup_steps}; the run has only {steps} steps.")
    rate = SCHEDULES[choose("--schedule", schedule, SCHEDULES)](learning_rate, steps - warmup_steps)
    if warmup_steps:
        after: Any = rate if callable(rate) else optax.constant_schedule(rate)
        rising = optax.linear_schedule(0.0, learning_rate, warmup_steps)
        rate = optax.join_schedules([rising, after], [warmup_steps])
    if name in DECOUPLED:
        parts = [make(rate, weight_decay=weight_decay, mask=decayed)]
    else:
        parts = [optax.add_decayed_weights(weight_decay, decayed)] if weight_decay else []
        parts.append(make(rate))
    if clip_norm is not None:
        parts.insert(0, optax.clip_by_global_norm(clip_norm))
    if rates is not None:
        parts.append(scale_by(rates))
    return optax.chain(*parts)
