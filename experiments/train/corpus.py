"""Text that a model learns the next character of: its options, its parts, and what is told of them."""

import dataclasses
import math
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import numpy as np

from experiments.common.errors import UserError, choose
from experiments.common.options import OneOf
from experiments.data import shakespeare, text
from experiments.train import ngrams
from experiments.train import settings as common
from experiments.train.recipe import Metric

SOURCES = {"shakespeare": shakespeare.load}

ORDERS, COUNTED = (1, 3, 5), 2**23
"""The n-gram models beside a network, and from how many characters at the end of the training text they
count."""

SHOWN = {
    "validation_loss": Metric(
        "validation loss", "nats per character", "{:.4f}", "validation loss {:.4f} nats"
    ),
    "validation_bits": Metric(
        "bits per character", "validation bits per character", "{:.4f}", "{:.4f} bits per character"
    ),
}


class Dataset(NamedTuple):
    """The numbers of a text's characters: those of training, and the two parts that are held out."""

    train: np.ndarray
    test: dict[str, np.ndarray]
    whole: text.Text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(common.Settings):
    """What a model of text is told of it."""

    group: ClassVar[str] = "data"

    data: Annotated[str, OneOf(SOURCES)] = "shakespeare"
    """The text: 38 plays of Shakespeare, which are fetched once into a cache folder."""
    text: Path | None = None
    """A file with your own text, in UTF-8. Overrides --data."""
    data_dir: Path | None = None
    """For images; a text is given by --text."""

    @property
    def source(self) -> str:
        """The name of the text."""
        if self.text is None:
            return super().source
        return "".join(c if c.isprintable() else "_" for c in self.text.stem) or "text"


def load(settings: Settings) -> Dataset:
    """The text of the settings in its parts."""
    if settings.data_dir is not None:
        raise UserError("--data-dir is for images; a text of your own is given by --text FILE.")
    if settings.text is None:
        whole = SOURCES[choose("--data", settings.data, SOURCES)]()
    else:
        whole = text.read(settings.text)
    return of(whole)


def of(whole: text.Text, most: int | None = None) -> Dataset:
    """The parts of a text, of those held out at most the first `most` characters."""
    return Dataset(whole.train, {"validation": whole.validation[:most], "test": whole.test[:most]}, whole)


def in_nats_and_bits(nats: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The figures of a recipe, of the loss of each part."""
    bits = {f"{name}_bits": loss / math.log(2) for name, loss in nats.items()}
    return {f"{name}_loss": loss for name, loss in nats.items()} | bits


def told(dataset: Dataset) -> dict[str, Any]:
    """What a recipe has of its text alone: how figures and samples are shown, and n-gram models beside it."""
    characters = dataset.whole.characters
    beside = ngrams.bits(dataset.train[-COUNTED:], list(dataset.test.values()), len(characters), ORDERS)
    by_order = {
        name: {str(n): value for n, value in found.items()}
        for name, found in zip(dataset.test, beside, strict=True)
    }
    values = ", ".join(f"{value:.4f} for n = {n}" for n, value in beside[0].items())
    return {
        "shown": SHOWN,
        "text": dataset.whole.shown,
        "identity": {"characters": characters},
        "baselines": {"ngram_bits": by_order},
        "baselines_text": f"Validation bits per character of n-gram models beside it: {values}.",
    }
