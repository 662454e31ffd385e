"""A multi-layer perceptron that classifies images, each a row of features."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

import jax_ref
import manual_bp
from experiments import data
from experiments.common import memory
from experiments.common.errors import UserError
from experiments.common.options import Count, OneOf
from experiments.data import SOURCES
from experiments.data.splits import Dataset, Split, check_labels
from experiments.train import models
from experiments.train import settings as common
from experiments.train.recipe import ACCURACY, LOSS, Model, Recipe
from manual_bp.initializers import INITIALIZERS
from manual_bp.losses import LOSSES
from manual_bp.models import mlp
from manual_bp.ops import activations
from manual_bp.precision import accumulator


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(common.Settings):
    """Train one network by hand-written gradients and by jax.grad, and compare the two."""

    group: ClassVar[str] = "model"

    data: Annotated[str, OneOf(SOURCES)] = "digits"
    """The data set: digits comes with scikit-learn, mnist is fetched once into a cache folder."""
    data_dir: Path | None = None
    """A folder with your own IDX files, named as MNIST's, gzipped or not. Overrides --data."""
    model: Annotated[str, OneOf(models.names())] = "mlp"
    """The network. Its own options are listed with --model NAME --help."""
    widths: tuple[Count, ...] = ()
    """Width of every layer, input and output included; by default one hidden layer of 100."""
    activation: Annotated[str, OneOf(activations.MEMBERS)] = "relu"
    """Activation of the hidden layers."""
    output_activation: Annotated[str, OneOf(activations.MEMBERS)] = "identity"
    """Activation of the last layer; the cross-entropies take logits, so leave it for them."""
    loss: Annotated[str, OneOf(LOSSES)] = "softmax_cross_entropy"
    """Loss; those that need it get the labels one-hot."""
    initializer: Annotated[str, OneOf(INITIALIZERS)] = "he"
    """How the weights begin; biases begin with zero."""


def load(settings: Settings) -> Dataset:
    """The data set of the settings, its images as rows."""
    return data.rows(data.load(settings.data, settings.data_dir, jnp.dtype(settings.dtype)))


def recipe(settings: Settings, dataset: Dataset) -> Recipe:
    """How the network of the settings is trained on a data set."""
    widths = widths_for(settings, dataset)
    dtype = jnp.dtype(settings.dtype)
    static = {"activation": settings.activation, "output_activation": settings.output_activation}
    labelled = settings.loss == "softmax_cross_entropy"

    def init(key: jax.Array) -> mlp.Params:
        wide = accumulator(dtype)  # steps of training are lost in the few digits of bfloat16
        return mlp.init(key, widths, initializer=settings.initializer, dtype=wide)

    def arrays(split: Split) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Features, targets and labels."""
        targets = split.y if labelled else one_hot(split.y, widths[-1], dtype)
        return jnp.asarray(split.x.astype(dtype)), jnp.asarray(targets), jnp.asarray(split.y)

    def batch(arrays: Any, rows: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        x, targets, _ = arrays
        return x[rows], targets[rows]

    def metrics(model: Model, arrays: Any) -> dict[str, jax.Array]:
        x, targets, labels = arrays
        predicted = jnp.argmax(model.apply(x, **static), axis=-1)
        return {"test_loss": model.loss((x, targets)), "test_accuracy": jnp.mean(predicted == labels)}

    return Recipe(
        pair=manual_bp.models.mlp,
        reference=jax_ref.models.mlp,
        title=f"mlp {list(widths)}",
        init=init,
        static={**static, "loss": settings.loss},
        arrays=arrays,
        count=lambda arrays: len(arrays[0]),
        batch=batch,
        metrics=metrics,
        shown={"test_loss": LOSS, "test_accuracy": ACCURACY},
        identity={"widths": list(widths)},
        note=spare_outputs(widths[-1], dataset.classes),
    )


def spare_outputs(outputs: int, classes: int) -> str:
    """What is said of a network that has more outputs than there are classes."""
    if outputs <= classes:
        return ""
    return f"--widths ends with {outputs} outputs for {classes} classes: {outputs - classes} are never right."


def one_hot(labels: np.ndarray, classes: int, dtype: np.dtype) -> np.ndarray:
    """A row for each label: 1 in its place, 0 elsewhere."""
    memory.require(
        f"A one-hot row of {classes} outputs for each label", len(labels) * classes * dtype.itemsize
    )
    rows = np.zeros((len(labels), classes), dtype)
    rows[np.arange(len(labels)), labels] = 1
    return rows


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
    return widths
