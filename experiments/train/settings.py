"""Settings of the main job that every model has; those of one model alone are beside its recipe."""

import dataclasses
import math
from pathlib import Path

from experiments.common.errors import UserError, choose
from experiments.train.engines import ENGINES
from experiments.train.optimizers import OPTIMIZERS, SCHEDULES

DTYPES = ("bfloat16", "float32", "float64")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run can be told, whatever the model; models name data, add options, and have other defaults."""

    data: str
    """The data set."""
    data_dir: Path | None = None
    """A folder with your own data. Overrides --data."""
    model: str
    """The network. Its own options are listed with --model NAME --help."""
    engine: str = "both"
    """manual, autodiff, or both from one initialisation in lockstep."""
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
    """Passes over the training data; with --round-steps, rounds of so many steps."""
    round_steps: int | None = None
    """Steps after which the run is evaluated and kept, its batches drawn with replacement; by default a
    pass over the training data."""
    seed: int = 0
    """Seed of the initialisation and of the order of the examples."""
    dtype: str = "float32"
    """float32, float64 or bfloat16; params and optimiser stay in float32 at least."""
    out: Path | None = None
    """Where the picture, the figures and the checkpoints go; by default a new folder in runs/."""
    resume: bool = False
    """Go on from the last checkpoint in --out."""
    overwrite: bool = False
    """Replace the run that is in --out."""

    @property
    def unit(self) -> str:
        """What `epochs` counts."""
        return "epoch" if self.round_steps is None else "round"

    @property
    def source(self) -> str:
        """The name of the data."""
        return self.data_dir.name if self.data_dir else self.data


def check(settings: Settings) -> None:
    """Raise `UserError` for an unknown name or an impossible number."""
    choose("--engine", settings.engine, [*ENGINES, "both"])
    choose("--optimizer", settings.optimizer, OPTIMIZERS)
    choose("--schedule", settings.schedule, SCHEDULES)
    choose("--dtype", settings.dtype, DTYPES)
    for option in ("batch_size", "epochs", "round_steps"):
        value = getattr(settings, option)
        if value is not None and value < 1:
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
