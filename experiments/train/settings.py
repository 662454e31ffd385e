"""The settings of the main job, and whether they make sense together."""

import dataclasses
import math
from pathlib import Path

from experiments.common.errors import UserError, choose
from experiments.data.splits import Dataset, check_labels
from experiments.train.engines import ENGINES
from experiments.train.optimizers import OPTIMIZERS, SCHEDULES
from manual_bp import models
from manual_bp.models.mlp import LOSSES
from manual_bp.ops import activations, dense

DTYPES = ("bfloat16", "float32", "float64")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Train one network by hand-written gradients and by jax.grad, and compare the two."""

    data: str = "digits"
    """digits (comes with scikit-learn) or mnist (fetched once into a cache folder)."""
    data_dir: Path | None = None
    """A folder with your own IDX files, named as MNIST's, gzipped or not. Overrides --data."""
    model: str = "mlp"
    """The network."""
    engine: str = "both"
    """manual, autodiff, or both from one initialisation in lockstep."""
    widths: tuple[int, ...] = ()
    """Width of every layer, input and output included; by default one hidden layer of 100."""
    activation: str = "relu"
    """Activation of the hidden layers."""
    output_activation: str = "identity"
    """Activation of the last layer; the cross-entropies take logits, so leave it for them."""
    loss: str = "softmax_cross_entropy"
    """Loss; those that need it get the labels one-hot."""
    initializer: str = "he"
    """glorot, he or near_zero."""
    optimizer: str = "adamw"
    """An optimiser of Optax."""
    learning_rate: float = 5e-3
    """Learning rate at the start."""
    schedule: str = "cosine"
    """constant, or cosine: down to zero over all epochs."""
    weight_decay: float = 0.1
    """Decoupled with adamw and lion (their own), an L2 term of the gradient with the others."""
    rates: str = "uniform"
    """A factor on the learning rate of every weight: uniform, inverse_fan_in, layers:1,0.1,... or an
    .npz file with an array for each param (layers.0.w, ...). 0 freezes a weight."""
    batch_size: int = 32
    """Examples per step."""
    epochs: int = 30
    """Passes over the training data."""
    seed: int = 0
    """Seed of the initialisation and of the order of the examples."""
    dtype: str = "float32"
    """float32, float64 or bfloat16."""
    out: Path | None = None
    """Where the picture, the figures and the checkpoints go; by default a new folder in runs/."""
    resume: bool = False
    """Go on from the last checkpoint in --out."""
    overwrite: bool = False
    """Replace the run that is in --out."""


def check_names(settings: Settings) -> None:
    """Raise `UserError` for an unknown name or an impossible number."""
    choose("--model", settings.model, dir(models))
    choose("--engine", settings.engine, [*ENGINES, "both"])
    choose("--activation", settings.activation, activations.MEMBERS)
    choose("--output-activation", settings.output_activation, activations.MEMBERS)
    choose("--loss", settings.loss, LOSSES)
    choose("--initializer", settings.initializer, dense.INITIALIZERS)
    choose("--optimizer", settings.optimizer, OPTIMIZERS)
    choose("--schedule", settings.schedule, SCHEDULES)
    choose("--dtype", settings.dtype, DTYPES)
    for option in ("batch_size", "epochs"):
        value = getattr(settings, option)
        if value < 1:
            raise UserError(f"--{option.replace('_', '-')} was {value}; expected at least 1.")
    if not (settings.learning_rate > 0 and math.isfinite(settings.learning_rate)):
        raise UserError(f"--learning-rate was {settings.learning_rate}; expected a positive number.")
    if not (settings.weight_decay >= 0 and math.isfinite(settings.weight_decay)):
        raise UserError(f"--weight-decay was {settings.weight_decay}; expected at least 0.")
    if settings.seed < 0:
        raise UserError(f"--seed was {settings.seed}; expected at least 0.")
    if settings.resume and settings.out is None:
        raise UserError("--resume needs --out, the folder of the run to go on with.")
    if settings.resume and settings.overwrite:
        raise UserError("--resume and --overwrite exclude each other.")


def widths_for(settings: Settings, dataset: Dataset) -> tuple[int, ...]:
    """The widths of all layers, which must fit the data."""
    features = dataset.train.x.shape[1]
    widths = settings.widths or (features, 100, dataset.classes)
    shown = " ".join(map(str, widths))
    if len(widths) < 2 or min(widths) < 1:
        raise UserError(f"--widths was {shown}; expected two positive widths or more.")
    if widths[0] != features:
        raise UserError(f"--widths was {shown}; the first must be {features}, the data's features.")
    for name, split in (("training", dataset.train), ("test", dataset.test)):
        try:
            check_labels(name, split.y, widths[-1])
        except UserError as error:
            raise UserError(f"--widths was {shown}, with {widths[-1]} outputs. {error}") from None
    if settings.batch_size > len(dataset.train.x):
        raise UserError(
            f"--batch-size was {settings.batch_size}; the training data has only "
            f"{len(dataset.train.x)} examples."
        )
    return widths
