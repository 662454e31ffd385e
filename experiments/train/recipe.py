"""Recipes: what the training loop must know of a model and its data, and nothing that it does itself.

A file `models/NAME.py` has three things: `Settings`, the options of the model; `load(settings)`, its data
with the splits `train` and `test`; and `recipe(settings, dataset)`, which says how the two meet.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from experiments.train import order
from experiments.train.splits import COMMON, Make


class Model(NamedTuple):
    """A model with its params and state in place, as one engine computes it."""

    loss: Callable[[Any], Any]
    """`loss(batch)`, a scalar."""
    apply: Callable[..., Any]
    """`apply(*inputs, **static)`, what `fwd` puts out with these options."""
    at: Callable[[Any], "Model"]
    """`at(state)`, the model in another state."""
    params: Any
    """The params, for what no engine computes."""


class Metric(NamedTuple):
    """How a figure of `Recipe.metrics` is shown."""

    title: str
    """Of its column and its panel."""
    axis: str
    """Label of its axis, with the unit."""
    column: str
    """Format of a number in the table, as in "{:.4f}"."""
    sentence: str = ""
    """Format of what is said of the last value when the run ends; nothing if empty."""


class Work(NamedTuple):
    """What a step has to do."""

    unit: str
    """What is counted, as "tokens"."""
    units: int
    """How many of them a step takes."""
    matmul_flops: int
    """Floating point operations of its matrix products, forward and backward."""


LOSS = Metric("test loss", "mean loss", "{:.6f}")
ACCURACY = Metric("accuracy", "fraction of test examples right", "{:.4f}", "test accuracy {:.2%}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """A model and how it is trained.

    What depends on arrays is traced: it runs under `jax.jit`, and random numbers come from its key.
    """

    pair: Any
    """`value_and_grad` and `fwd` with hand-written gradients, as a module of `manual_bp.models` has them."""
    reference: Any
    """`loss` and `apply`, as a module of `jax_ref.models` has them."""
    title: str
    """The model in a few words."""
    init: Callable[[Any], Any]
    """`init(key) -> params`."""
    static: Mapping[str, Any]
    """Options of `value_and_grad` and of `loss`, hashable."""
    arrays: Callable[[Any], Any]
    """`arrays(split)`: what is kept of a split on the device."""
    count: Callable[[Any], int]
    """`count(arrays)`: how many rows there are to draw from, examples or starts of windows."""
    batch: Callable[[Any, Any, Any], Any]
    """`batch(arrays, rows, key)`: the batch of the rows (B,); the key is for noise, as in dropout."""
    metrics: Callable[[Model, Any], dict[str, Any]]
    """`metrics(model, arrays)` of the test split: scalars by name, `test_loss` among them."""
    shown: Mapping[str, Metric]
    """How these are shown; the first of them, a loss, in one panel with the training's."""
    order: Callable[..., Any] = order.shuffled
    """The rows of each step of a round, a function of `order`."""
    state: Callable[[Any], Any] | None = None
    """`state(params)`, the model's state at the start (running statistics, a carried hidden state), which
    `value_and_grad` and `loss` take after the params; None for a model without."""
    sample: Callable[[Model, Any], Any] | None = None
    """`sample(model, key)`: an array that is shown after each round, as text."""
    text: Callable[[Any], str] = str
    """From what `sample` returns to its text."""
    stacked: frozenset[str] = frozenset()
    """Fields of the params whose leaves hold several layers, along their leading axis."""
    decayed: Callable[[Any], Any] | None = None
    """From the params to which of their leaves weight decay is for; None for all."""
    work: Work | None = None
    """What a step has to do, for the speed in these terms."""
    identity: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What must be the same, beside the settings, for a checkpoint to be gone on from: JSON values."""
    note: str = ""
    """What is said of the settings before the first round; nothing if empty."""
    baselines: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Figures to hold the model's against, of models that need no training in rounds: JSON values."""
    baselines_text: str = ""
    """The same in a sentence, said when the run ends."""
    splits: Mapping[str, Make] = dataclasses.field(default_factory=lambda: COMMON)
    """How it can be split over devices, by name."""
    microbatches: int = 1
    """Parts of a batch that are computed one after the other."""
    probe: int = 1024
    """Rows of the batch at which the gradients of the engines are compared, or all if there are fewer."""
