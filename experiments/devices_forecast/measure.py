"""Settings, and the formulas at them."""

import dataclasses
from typing import Annotated

from experiments.common import study
from experiments.common.errors import UserError
from experiments.common.options import Between, Count
from experiments.devices_forecast import formulas

BYTES = 4
"""Of a number: float32."""

KEPT_OF_PARAMS = 4
"""Params, their gradient, and the two means of Adam."""


@dataclasses.dataclass(frozen=True)
class Settings(study.Settings):
    """What this study can be told."""

    layers: Count = 64
    """Blocks."""
    width: Count = 4096
    """Features of a token."""
    heads: Count = 64
    """Heads of attention."""
    key_heads: Count | None = None
    """Heads of keys and values; by default as many."""
    hidden: Count | None = None
    """Features between the two products of the mlp; by default four times the width."""
    context: Count = 8192
    """Tokens of an example."""
    batch: Count = 1
    """Examples: of each device for data and fsdp, of all together for the other kinds."""
    microbatches: Count = 128
    """Of the pipeline, each with as many examples as --batch says."""
    devices: Annotated[tuple[int, ...], Between(1, 2**20)] = (8, 64, 1024)
    """Numbers of devices."""


def measure(settings: Settings) -> study.Figures:
    """What each kind needs on each number of devices, None where it cannot be."""
    key_heads = settings.key_heads or settings.heads
    if settings.width % settings.heads:
        raise UserError(
            f"--heads was {settings.heads}; expected a number that divides the {settings.width} of --width."
        )
    if settings.heads % key_heads:
        raise UserError(
            f"--key-heads was {key_heads}; expected a number that divides the {settings.heads} of --heads."
        )
    model = formulas.Model(
        settings.layers,
        settings.width,
        settings.heads,
        settings.width // settings.heads * key_heads,
        settings.hidden or 4 * settings.width,
        settings.batch,
        settings.context,
        settings.microbatches,
    )
    kinds = {name: [_of(name, model, n) for n in settings.devices] for name in formulas.KINDS}
    return {
        "params": settings.layers * model.of_layer,
        "tokens": settings.batch * settings.context,
        "devices": list(settings.devices),
        "kinds": kinds,
    }


def _of(kind: str, model: formulas.Model, n: int) -> dict[str, float] | None:
    """Bytes of one device."""
    if kind in formulas.OF_DEVICE:
        model = model._replace(batch=model.batch * n)
    if kind == "pipeline":
        model = model._replace(batch=model.batch * model.microbatches)
    needs = formulas.KINDS[kind](model, n)
    if needs is None:
        return None
    return {
        "sent": float(BYTES * needs.sent),
        "params": float(BYTES * KEPT_OF_PARAMS * needs.params),
        "activations": float(BYTES * needs.activations),
    }
