"""A convolutional network that classifies images, gray or of several channels."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec as P

import jax_ref
import manual_bp
from experiments import data
from experiments.common.errors import UserError
from experiments.common.options import Between, Count, OneOf, Rate
from experiments.data import SOURCES
from experiments.data.splits import Dataset, Split
from experiments.train import models
from experiments.train import settings as common
from experiments.train.recipe import ACCURACY, LOSS, Model, Recipe
from experiments.train.splits import AXIS, COMMON, Make, Pair
from experiments.train.splits import Split as OverDevices
from manual_bp.initializers import INITIALIZERS
from manual_bp.models import convnet
from manual_bp.ops import activations
from manual_bp.precision import accumulator, wide

EVALUATED_WITH = {"batch_norm": "frozen_batch_norm", "none": "none"}
"""From the norm of training to that of evaluation, which takes the running statistics."""

AT_ONCE = 500
"""Images of the test data that are evaluated at once."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(common.Settings):
    """Train one convolutional network by hand-written gradients and by jax.grad, and compare the two."""

    group: ClassVar[str] = "model"

    data: Annotated[str, OneOf(SOURCES)] = "digits"
    """The data set: digits comes with scikit-learn, mnist is fetched once into a cache folder."""
    data_dir: Path | None = None
    """A folder with your own IDX files, named as MNIST's, gzipped or not; their images have two axes, or a
    third one of channels. Overrides --data."""
    model: Annotated[str, OneOf(models.names())] = "convnet"
    """The network. Its own options are listed with --model NAME --help."""
    widths: tuple[Count, ...] = (16, 32, 64)
    """Channels of each block, which ends with a pooling that halves the image."""
    depth: Count = 1
    """Convolutions of 3 x 3 in each block."""
    hidden: tuple[Count, ...] = ()
    """Widths of dense layers between the last block and the outputs."""
    norm: Annotated[str, OneOf(EVALUATED_WITH)] = "batch_norm"
    """What follows a convolution: a norm, evaluated with its running statistics, or none."""
    momentum: Annotated[float, Between(0, 1)] = 0.9
    """Weight of the old running statistics at each step."""
    activation: Annotated[str, OneOf(activations.MEMBERS)] = "relu"
    """Activation behind each norm and each hidden dense layer."""
    initializer: Annotated[str, OneOf(INITIALIZERS)] = "he"
    """How the weights begin; gains begin with one, biases with zero."""
    learning_rate: Rate = 5e-3
    """Learning rate at the start."""
    batch_size: Count = 64
    """Examples per step."""
    epochs: Count = 10
    """Passes over the training data; with --round-steps, rounds of so many steps."""

    @property
    def splits(self) -> tuple[str, ...]:
        """None with a batch norm of parts of a batch, which on each device would be others than on one."""
        return () if self.in_the_way else super().splits

    @property
    def in_the_way(self) -> tuple[str, ...]:
        """A norm together with parts of a batch."""
        return () if self.norm == "none" or self.microbatches == 1 else ("norm", "microbatches")


def load(settings: Settings) -> Dataset:
    """The data set of the settings, its images with an axis of channels."""
    found = data.load(settings.data, settings.data_dir, jnp.dtype(settings.dtype))
    shape = found.train.x.shape[1:]
    if len(shape) not in (2, 3):
        raise UserError(
            f"The images have shape {shape}; expected height and width, or height, width and channels."
        )
    least = 2 ** len(settings.widths)
    if min(shape[:2]) < least:
        raise UserError(
            f"--widths was {' '.join(map(str, settings.widths))}; each of these {len(settings.widths)} "
            f"blocks halves the image, which is {shape[0]} x {shape[1]}, expected at least {least} x {least}."
        )
    train, test = (split._replace(x=split.x.reshape(*split.x.shape[:3], -1)) for split in found[:2])
    return found._replace(train=train, test=test)


def recipe(settings: Settings, dataset: Dataset) -> Recipe:
    """How the network of the settings is trained on a data set."""
    dtype = jnp.dtype(settings.dtype)
    image, blocks = dataset.train.x.shape[1:], [(width,) * settings.depth for width in settings.widths]
    static = {"activation": settings.activation, "norm": settings.norm, "momentum": settings.momentum}
    evaluated = static | {"norm": EVALUATED_WITH[settings.norm]}

    def init(key: jax.Array) -> convnet.Params:
        return convnet.init(
            key,
            image,
            blocks,
            (*settings.hidden, dataset.classes),
            norm=settings.norm,
            initializer=settings.initializer,
            dtype=accumulator(dtype),  # steps of training are lost in the few digits of bfloat16
        )

    def arrays(split: Split) -> tuple[jax.Array, jax.Array]:
        return jnp.asarray(split.x.astype(dtype)), jnp.asarray(split.y)

    def batch(arrays: Any, rows: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        x, labels = arrays
        return x[rows], labels[rows]

    def metrics(model: Model, arrays: Any) -> dict[str, jax.Array]:
        """By the running statistics, which see one image as they see many."""
        x, labels = arrays
        logits = wide(jax.lax.map(lambda x: model.apply(x, **evaluated)[0], x, batch_size=AT_ONCE))
        loss = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))
        return {"test_loss": loss, "test_accuracy": jnp.mean(jnp.argmax(logits, -1) == labels)}

    return Recipe(
        pair=manual_bp.models.convnet,
        reference=jax_ref.models.convnet,
        title=f"convnet {list(settings.widths)}",
        init=init,
        state=lambda params: convnet.init_state(params, norm=settings.norm),
        static=static,
        arrays=arrays,
        count=lambda arrays: len(arrays[0]),
        batch=batch,
        metrics=metrics,
        shown={"test_loss": LOSS, "test_accuracy": ACCURACY},
        probe=256,
        splits={name: over_devices(make) for name, make in COMMON.items()},
    )


def over_devices(make: Make) -> Make:
    """The split in which a norm's statistics are those of all devices' examples.

    JAX splits the reference by itself. The state is the same on all devices.
    """

    def made(recipe: Recipe, shapes: Any, n: int) -> OverDevices:
        pair = Pair(partial(recipe.pair.value_and_grad, axis=AXIS))
        split = make(dataclasses.replace(recipe, pair=pair), shapes, n)
        return split._replace(reference=None, state=P())

    return made
