"""Settings of the main job that every model has; those of one model alone are beside its recipe."""

import dataclasses
import math
import os
from pathlib import Path
from typing import Annotated, ClassVar

from experiments.common import team
from experiments.common.errors import UserError, shown
from experiments.common.options import Between, Count, OneOf, Rate, Seed
from experiments.train import models
from experiments.train.engines import ENGINES
from experiments.train.optimizers import OPTIMIZERS, SCHEDULES

SPLITS = ("data", "fsdp", "tensor")

DTYPES = ("bfloat16", "float16", "float32", "float64")

EXAMPLES = (
    "",
    "--data mnist --widths 784 300 10 --out runs/mnist",
    "--engine manual --optimizer sgd --learning-rate 0.1",
    "--dtype bfloat16 --epochs 60 --seed 1",
    "--out runs/mnist --data mnist --widths 784 300 10 --resume",
    "--processes 2 --split fsdp",
)
"""Options of a command line each, shown by `--help`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """What is learned."""

    group: ClassVar[str] = "data"

    data: str
    """The data set."""
    data_dir: Path | None = None
    """A folder with your own data. Overrides --data."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """What learns it; a model adds its own options."""

    group: ClassVar[str] = "model"

    model: Annotated[str, OneOf(models.names())]
    """The network. Its own options are listed with --model NAME --help."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """How it learns."""

    group: ClassVar[str] = "training"

    engine: Annotated[str, OneOf([*ENGINES, "both"])] = "both"
    """What differentiates; both start from one initialisation and go in lockstep."""
    optimizer: Annotated[str, OneOf(OPTIMIZERS)] = "adamw"
    """An optimiser of Optax."""
    learning_rate: Rate = 5e-3
    """Learning rate at the start."""
    schedule: Annotated[str, OneOf(SCHEDULES)] = "cosine"
    """How the learning rate goes on; cosine falls to zero over all epochs."""
    warmup_steps: Annotated[int, Between(0, 2**31 - 1)] = 0
    """Steps through which the learning rate rises from zero, before the schedule begins."""
    weight_decay: Annotated[float, Between(0, 1e38)] = 0.1
    """Decoupled with adamw and lion (their own), an L2 term of the gradient with the others."""
    clip_norm: Rate | None = None
    """Largest norm of a gradient, of all params together: a longer one is made as short as that."""
    rates: str = "uniform"
    """A factor on the learning rate of every weight: uniform, inverse_fan_in, layers:1,0.1,... or an .npz
    file with an array for each param (layers.0.w, ...). 0 freezes a weight."""
    batch_size: Count = 32
    """Examples per step."""
    microbatches: Count = 1
    """Parts of a batch that are computed one after the other, in the memory of one."""
    epochs: Count = 30
    """Passes over the training data; with --round-steps, rounds of so many steps."""
    round_steps: Count | None = None
    """Steps after which the run is evaluated and kept, its batches drawn with replacement; by default a pass
    over the training data."""
    seed: Seed = 0
    """Seed of the initialisation and of the order of the examples."""
    dtype: Annotated[str, OneOf(DTYPES)] = "float32"
    """What the model computes in; params and optimiser stay in float32 at least, and with float16 the loss is
    scaled so that small gradients do not vanish."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Devices:
    """What computes it."""

    group: ClassVar[str] = "devices"

    processes: Annotated[int, Between(1, 2**16)] | None = None
    """Processes that share the work: started on this machine, or by you or a cluster with --coordinator; by
    default one, or as many as SLURM or Kubernetes have started."""
    split: Annotated[str, OneOf(SPLITS)] | None = None
    """What of a step each device has: data, its share of the examples; fsdp, a part of params and optimiser
    too; tensor, heads and hidden features. By default data with several processes."""
    coordinator: str = ""
    """HOST:PORT of the first process, where the same command is started once for each process."""
    process_id: Annotated[int, Between(0, 2**16 - 1)] | None = None
    """The number of this process among those that are started with --coordinator, from 0."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Output:
    """Where it is written."""

    group: ClassVar[str] = "output"

    out: Path | None = None
    """Where the picture, the figures and the checkpoints go; by default a new folder in runs/."""
    resume: bool = False
    """Go on from the last checkpoint in --out."""
    overwrite: bool = False
    """Replace the run that is in --out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(Output, Devices, Training, Network, Data):  # dataclasses count from the last base
    """What a run can be told, whatever the model; models name data, add options, and have other defaults."""

    @property
    def splits(self) -> tuple[str, ...]:
        """How a model with these settings can be split."""
        return ("data", "fsdp")

    @property
    def in_the_way(self) -> tuple[str, ...]:
        """The options for whose values it cannot be split as it could with others."""
        return ()

    @property
    def unit(self) -> str:
        """What `epochs` counts."""
        return "epoch" if self.round_steps is None else "round"

    @property
    def source(self) -> str:
        """The name of the data, as the run's folder and its picture have it."""
        if self.data_dir is None:
            return self.data
        name = os.path.basename(os.path.abspath(self.data_dir))  # "." and ".." have names too
        return "".join(c if c.isprintable() else "_" for c in name) or "data"


def check(settings: Settings) -> None:
    """Raise `UserError` for options that do not go together."""
    if settings.resume and settings.out is None:
        raise UserError("--resume needs --out, the folder of the run to go on with.")
    if settings.resume and settings.overwrite:
        raise UserError("--resume and --overwrite exclude each other.")
    check_devices(settings)
    where = os.path.abspath(settings.out or "runs")
    if where != where.encode("utf-8", "ignore").decode():
        raise UserError(f"--out was {shown(where)}; expected a path in UTF-8, as checkpoints need one.")


def check_devices(settings: Settings) -> None:
    """Raise `UserError` for processes that cannot meet, or a model that cannot be split among them."""
    team.check(settings.coordinator, settings.processes, settings.process_id)
    split = settings.split or ("data" if (settings.processes or 1) > 1 else None)
    if split is not None and split not in settings.splits:
        can = f"it can be {', '.join(settings.splits)}" if settings.splits else "it cannot be split at all"
        given = [f"--{name} {getattr(settings, name)}" for name in settings.in_the_way]
        model = settings.model + (f" with {' and '.join(given)}" if given else "")
        raise UserError(f"--split {split} is not for {model}: {can}.")
    demand_shares(settings, settings.processes or 1)


def demand_shares(settings: Settings, devices: int) -> None:
    """Raise `UserError` unless the devices share a batch equally, and its parts do."""
    sharers = {"devices": 1 if settings.split == "tensor" else devices, "microbatches": settings.microbatches}
    if settings.batch_size % math.prod(sharers.values()):
        each = " and the ".join(f"{n} {name}" for name, n in sharers.items() if n > 1)
        raise UserError(
            f"--batch-size was {settings.batch_size}; expected a number that divides by the {each}."
        )
