r"""How fast does the gradient vanish, or explode, on its way back through a deep network?

B examples, I features into a layer; k = 1..d numbers the hidden layers, and d+1 is the output.

    z^k     = a^(k-1) w^k + b^k,   a^k = f(z^k),   a^0 = x                              (1)
    y       = s(z^(d+1)),   s(z) = 1/(1 + e^-z)                                         (2)
    C       = (1/B) sum_b c(y_b, t_b), the cross-entropy or 1/2 ||y_b - t_b||^2         (3)

    delta^k = dC/db^k = sum_b dC/dz_b^k, the mean of the deltas of the examples         (4)
    r       = (||delta^1|| / ||delta^d||)^(1/(d-1))                                     (5)

Nielsen calls ||delta^k|| the speed of learning of layer k. (5) is the factor by which it changes from a
hidden layer to the one before it, the geometric mean over the network: below 1 the delta vanishes.

The initialisations unit_normal (variance 1) and fan_in (variance 1/I) draw normal weights, and biases of
variance 1; the others are those of `ops.dense`, with biases of zero.

Nielsen (Neural Networks and Deep Learning, 2015, chapter 5) gives ||delta^k|| of one initialisation each
of two to four hidden layers of 30 for the first 1,000 images of MNIST. He explains them with weights of
variance 1; the program he names as their source, fig/generate_gradient.py, takes the defaults of the
book's network2.py: fan_in and the cross-entropy. `--data mnist` tries both weights with both costs.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.table import Column, Table

from experiments import data
from experiments.common import errors, study
from experiments.common.errors import UserError, choose
from manual_bp.initializers import INITIALIZERS
from manual_bp.models import mlp
from manual_bp.ops import activations, dense

Batch = tuple[Array, Array]

NORMAL = {"unit_normal": lambda features: 1.0, "fan_in": lambda features: features**-0.5}
"""Standard deviation of the weights of a layer with so many features in; that of the biases is 1."""

COLOURS = {"unit_normal": "#D50", "fan_in": "#07B", "glorot": "#097", "he": "#EA0", "near_zero": "#000"}
"""Of all initialisations."""

COSTS = {
    "cross_entropy": {"loss": "sigmoid_cross_entropy"},  # takes logits: (2) is a part of it
    "quadratic": {"loss": "squared_error", "output_activation": "sigmoid"},
}

TRAINED_DEPTH, TRAINED_DRAWS, BATCH_SIZE, LEARNING_RATE = 4, 10, 20, 0.2
PARTNERS = {"sigmoid": "fan_in", "tanh": "glorot", "relu": "he"}
"""The initialisation that an activation is trained with, where it is one of those chosen."""

BOOK = ((0.07, 0.31), (0.012, 0.060, 0.283), (0.003, 0.017, 0.070, 0.285))
"""Nielsen's numbers for two, three and four hidden layers of 30, from the first layer to the last."""


@dataclasses.dataclass(frozen=True)
class Settings(study.Settings):
    """How fast does the gradient vanish, or explode, on its way back through a deep network?"""

    data: str = "digits"
    """digits (comes with scikit-learn), or mnist (fetched once), which adds the numbers of Nielsen's book."""
    depths: tuple[int, ...] = (2, 4, 6, 8, 10)
    """Numbers of hidden layers."""
    activations: tuple[str, ...] = ("sigmoid", "tanh", "relu")
    """Activations of the hidden layers."""
    initializations: tuple[str, ...] = tuple(COLOURS)
    """Some of unit_normal, fan_in, glorot, he and near_zero."""
    cost: str = "cross_entropy"
    """cross_entropy or quadratic, of sigmoid outputs."""
    draws: int = 100
    """Initialisations of every network."""
    width: int = 30
    """Neurons of a hidden layer."""
    examples: int = 1000
    """Training examples, from the first on."""
    epochs: int = 60
    """Passes over the examples, for the networks of four hidden layers that are trained."""


def check(settings: Settings) -> None:
    """Raise `UserError` for an unknown name or an impossible number."""
    for option, known in (("activations", activations.MEMBERS), ("initializations", COLOURS)):
        for name in getattr(settings, option) or [""]:
            choose(f"--{option}", name, known)
    choose("--cost", settings.cost, COSTS)
    if min(settings.depths, default=0) < 2:
        raise UserError(f"--depths was {list(settings.depths)}; expected one or more, each at least 2.")
    for option in ("draws", "width", "examples", "epochs"):
        if getattr(settings, option) < 1:
            raise UserError(f"--{option} was {getattr(settings, option)}; expected at least 1.")


def networks(key: Key[Array, ""], draws: int, widths: Sequence[int], initialization: str) -> mlp.Params:
    """`draws` networks of the given widths, input and output included: params with a leading axis."""
    keys = jax.random.split(key, (len(widths) - 1, draws))
    layers = zip(keys, widths[:-1], widths[1:], strict=True)
    return mlp.Params(tuple(_layer(k, i, o, initialization) for k, i, o in layers))


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _layer(keys: Key[Array, "N"], features: int, out: int, initialization: str) -> dense.Params:
    """One program for all hidden layers; a map, as a vmap would take longer to compile."""
    if initialization in INITIALIZERS:
        init = functools.partial(dense.init, initializer=initialization, dtype=jnp.float64)
        return jax.lax.map(lambda key: init(key, features, out), keys)
    draws = jax.lax.map(lambda key: jax.random.normal(key, (features + 1, out), jnp.float64), keys)
    return dense.Params(NORMAL[initialization](features) * draws[:, :-1], draws[:, -1])


def shallower(params: mlp.Params, depth: int) -> mlp.Params:
    """The first `depth` hidden layers and the output layer: networks of all depths share their draws."""
    return mlp.Params((*params.layers[:depth], params.layers[-1]))


def delta_norms(gradient: mlp.Params) -> Float[Array, "d"]:
    """(4): the norm for each hidden layer."""
    return jnp.stack([jnp.linalg.norm(layer.b) for layer in gradient.layers[:-1]])


@functools.partial(jax.jit, static_argnames=("activation", "cost"))
def initial_norms(params: mlp.Params, batch: Batch, *, activation: str, cost: str) -> Float[Array, "N d"]:
    """The norms at initialisation, for N draws."""
    value_and_grad = functools.partial(mlp.value_and_grad, activation=activation, **COSTS[cost])
    return jax.lax.map(lambda p: delta_norms(value_and_grad(p, batch)[1]), params)


@functools.partial(jax.jit, static_argnames=("activation", "cost", "epochs"))
def training_norms(
    params: mlp.Params, batch: Batch, *, activation: str, cost: str, epochs: int
) -> Float[Array, "N epochs+1 d"]:
    """The norms over all examples, before each epoch of gradient descent and after the last."""
    value_and_grad = functools.partial(mlp.value_and_grad, activation=activation, **COSTS[cost])
    size = min(BATCH_SIZE, len(batch[0]))
    steps = len(batch[0]) // size  # what is left over is not trained on
    parts = jax.tree.map(lambda a: a[: steps * size].reshape(steps, size, a.shape[1]), batch)

    def step(params: mlp.Params, part: Batch) -> tuple[mlp.Params, None]:
        _, gradient = value_and_grad(params, part)
        return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, gradient), None

    def epoch(params: mlp.Params, _: None) -> tuple[mlp.Params, Array]:
        return jax.lax.scan(step, params, parts)[0], delta_norms(value_and_grad(params, batch)[1])

    return jax.lax.map(lambda p: jax.lax.scan(epoch, p, length=epochs + 1)[1], params)


def measure(settings: Settings) -> study.Figures:
    """Bands of (4) and (5) over the draws, for every network at initialisation and for some in training."""
    check(settings)
    dataset = data.rows(data.load(settings.data, None))
    if settings.examples > (available := len(dataset.train.x)):
        raise UserError(f"--examples was {settings.examples}; the training data has only {available}.")
    batch = _batch(dataset, settings.examples)
    depths = sorted(set(settings.depths))
    hidden = [settings.width] * max(*depths, TRAINED_DEPTH)
    widths = (batch[0].shape[1], *hidden, dataset.classes)
    initial = {activation: {} for activation in settings.activations}
    training = {}
    for name in settings.initializations:
        params = networks(jax.random.key(settings.seed), settings.draws, widths, name)
        for activation in settings.activations:
            static = {"activation": activation, "cost": settings.cost}
            rows = initial[activation][name] = []
            for depth in depths:
                norms = np.asarray(initial_norms(shallower(params, depth), batch, **static))
                alive = norms[norms[:, -1] > 0]
                factor = (alive[:, 0] / alive[:, -1]) ** (1 / (depth - 1))  # (5)
                bands = [_band(layer) for layer in norms.T]
                rows.append({"depth": depth, "norm": bands, "factor": _band(factor)})
            if name == _partner(activation, settings.initializations):
                some = jax.tree.map(lambda leaf: leaf[:TRAINED_DRAWS], shallower(params, TRAINED_DEPTH))
                norms = np.asarray(training_norms(some, batch, **static, epochs=settings.epochs))
                bands = [[_band(layer) for layer in epoch.T] for epoch in norms.swapaxes(0, 1)]
                training[activation] = {"initialization": name, "norm": bands}
    book = against_book(settings.seed, settings.draws, dataset) if settings.data == "mnist" else []
    return {"initial": initial, "training": training, "book": book}


def against_book(seed: int, draws: int, dataset: data.Dataset) -> list[dict[str, Any]]:
    """Nielsen's numbers and the bands they are compared with, for each reading of what he measured."""
    batch = _batch(dataset, 1000)
    widths = (batch[0].shape[1], 30, 30, 30, 30, dataset.classes)
    readings = []
    for name, cost in itertools.product(NORMAL, COSTS):
        params = networks(jax.random.key(seed), draws, widths, name)
        bands = []
        for numbers in BOOK:
            norms = initial_norms(shallower(params, len(numbers)), batch, activation="sigmoid", cost=cost)
            layers = zip(numbers, np.asarray(norms).T, strict=True)
            bands += [{"book": number, **_band(layer)} for number, layer in layers]
        readings.append({"initialization": name, "cost": cost, "norm": bands})
    return readings


def _batch(dataset: data.Dataset, examples: int) -> Batch:
    targets = np.eye(dataset.classes)[dataset.train.y[:examples]]
    return jnp.asarray(dataset.train.x[:examples], jnp.float64), jnp.asarray(targets)


def _partner(activation: str, chosen: tuple[str, ...]) -> str:
    return PARTNERS[activation] if PARTNERS.get(activation) in chosen else chosen[0]


def _band(values: np.ndarray) -> dict[str, float | None]:
    if values.size == 0 or not np.all(np.isfinite(values)):
        return {"low": None, "median": None, "high": None}
    low, median, high = np.quantile(values, (0.05, 0.5, 0.95)).tolist()
    return {"low": low, "median": median, "high": high}


def table(figures: study.Figures) -> Table:
    """The shallowest and the deepest network of each kind."""
    first = Column("first hidden\nlayer", min_width=17)  # a band is broken in a bad place by less
    table = Table("network", "hidden\nlayers", first, "last hidden\nlayer", "factor per\nlayer back")
    table.title, table.box = "Norm of the delta at initialisation: median (5–95%)", box.SIMPLE
    for activation, kinds in figures["initial"].items():
        for name, rows in kinds.items():
            for row in rows[:: max(1, len(rows) - 1)]:
                bands = (row["norm"][0], row["norm"][-1], row["factor"])
                table.add_row(f"{activation} {name}", str(row["depth"]), *map(_shown, bands))
        table.add_section()
    return table


def draw(figures: study.Figures) -> Figure:
    """A column for each activation: the norms by layer, by depth, and in training."""
    figure = Figure(figsize=(1 + 3.7 * len(figures["initial"]), 11), layout="constrained")
    grid = figure.subplots(3, len(figures["initial"]), sharey="row", squeeze=False)
    for column, (activation, kinds) in enumerate(figures["initial"].items()):
        by_layer, by_depth, by_epoch = grid[:, column]
        depths = [row["depth"] for row in next(iter(kinds.values()))]
        for name, rows in kinds.items():
            style = {"label": name, "marker": ".", "color": COLOURS[name]}
            _line(by_layer, range(1, depths[-1] + 1), rows[-1]["norm"], **style)
            _line(by_depth, depths, [row["norm"][0] for row in rows], **style)
        trained = figures["training"][activation]
        for k in range(TRAINED_DEPTH):
            layer = [epoch[k] for epoch in trained["norm"]]
            colour = colormaps["viridis"](0.9 * k / (TRAINED_DEPTH - 1))
            _line(by_epoch, range(len(layer)), layer, label=f"hidden layer {k + 1}", color=colour)
        by_layer.set(title=f"{activation}: {depths[-1]} hidden layers, untrained", xlabel="hidden layer")
        by_depth.set(title=f"{activation}: first layer, untrained", xlabel="number of hidden layers")
        kind = f"{activation} {trained['initialization']}"
        by_epoch.set(title=f"{kind}: {TRAINED_DEPTH} hidden layers, training", xlabel="epoch")
        for ax in grid[:, column]:
            ax.grid(alpha=0.3)
            ax.xaxis.get_major_locator().set_params(integer=True)
    for ax in grid[:, 0]:
        ax.set(yscale="log", ylabel="norm of the delta (median, 5–95%)")
    grid[0, 0].legend()
    grid[2, 0].legend()
    return figure


def sentence(figures: study.Figures) -> str:
    """The factor of the deepest networks, with the initialisations that were trained."""
    factors, held = [], []
    for activation, kinds in figures["initial"].items():
        name = figures["training"][activation]["initialization"]
        depth, factor = kinds[name][-1]["depth"], _shown(kinds[name][-1]["factor"])
        factors.append(f"{factor} with {activation}, {name} and {depth} hidden layers")
    for row in figures["book"]:
        inside = [band["low"] <= band["book"] <= band["high"] for band in row["norm"]]
        two = ", ".join(f"{band['book']} against {_shown(band)}" for band in row["norm"][:2])
        held.append(f"{sum(inside)} of {len(inside)} with {row['initialization']} and {row['cost']} ({two})")
    text = f"One hidden layer back, the norm of the delta is multiplied (5–95%) by {'; '.join(factors)}."
    return f"{text} The bands hold, of Nielsen's numbers, {'; '.join(held)}." if held else text


def _line(ax: Axes, x: Sequence[int], bands: Sequence[dict[str, float | None]], **style: Any) -> None:
    low, median, high = (np.array([band[q] for band in bands], float) for q in ("low", "median", "high"))
    ax.plot(x, median, **style)
    ax.fill_between(x, low, high, color=style["color"], alpha=0.2, linewidth=0)


def _shown(band: dict[str, float | None]) -> str:
    return f"{_number(band['median'])} ({_number(band['low'])}–{_number(band['high'])})"


def _number(value: float | None) -> str:
    if value is None:
        return "?"
    text = f"{value:.1e}" if 0 < value < 0.01 else f"{value:#.2g}".rstrip(".")
    return text.replace("e-0", "e-").replace("e+0", "e")


STUDY = study.Study("vanishing", Settings, measure, table, draw, sentence)

if __name__ == "__main__":
    errors.run(lambda: study.run(STUDY))
