r"""Why does a saturated sigmoid learn slowly with the quadratic cost, and not with cross-entropy?

An output neuron a = s(z) = 1/(1 + e^-z) with target t; dz = dC/dz is its delta.

    quadratic       C = (a - t)^2 / 2                        dz = (a - t) s'(z)       (1)
    cross-entropy   C = -t log a - (1 - t) log(1 - a)        dz = a - t               (2)

Their quotient is s'(z) = a (1 - a), which vanishes where the neuron is saturated, right or wrong.

One neuron z = w x + b with x = 1, t = 0 takes steps of

    dw = x dz,   db = dz,    w <- w - eta dw,   b <- b - eta db                       (3)

For small eta that is dz/dn = -2 eta a^2 (1 - a) with (1) and -2 eta a with (2) after n epochs: from z >> 1
it takes about e^z/(2 eta) epochs to a = 1/2 with the quadratic cost and z/(2 eta) with cross-entropy. One
eta for two costs is a convention; for any small eta (2)'s gradient is largest at the start, and (1)'s, which
is a^2 (1 - a), at a = 2/3. So the gradient at the start is reported relative to its largest on the way.

In a network of sigmoids with layers k = 1..L, the deltas below (1) or (2) are

    dz^k = s'(z^k) (w^(k+1) dz^(k+1)),                                                (4)

so that what s' takes from the output's delta, every layer lacks. The easy start is an ordinary one (Glorot,
biases zero); the bad one has output biases so large that every output is 1, nine of ten wrongly. An output
that stays there wins every argmax: the accuracy waits for the last to come down.

Nielsen 2015, Neural Networks and Deep Learning, chapter 3.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Column, Table

from experiments import data
from experiments.common import errors, study
from manual_bp.models import mlp
from manual_bp.ops import dense, sigmoid_cross_entropy, squared_error
from manual_bp.ops.activations import sigmoid

NEURON_STARTS = {"easy": (0.6, 0.9), "bad": (2.0, 2.0)}  # weight and bias
GOAL = 0.9  # the training accuracy that the networks are timed to
LIMITS = {  # the least and the largest that an option can be
    **dict.fromkeys(("neuron_epochs", "epochs", "inits"), (1, 10_000)),
    **dict.fromkeys(("neuron_rate", "learning_rate"), (1e-6, 100)),
    "output_bias": (0, 30),  # beyond it s(z) rounds to 1
}


@dataclasses.dataclass(frozen=True)
class Settings(study.Settings):
    """Why does a saturated sigmoid learn slowly with the quadratic cost, and not with cross-entropy?"""

    neuron_epochs: int = 300
    """Steps of the one neuron."""
    neuron_rate: float = 0.15
    """The one neuron's learning rate, with both costs."""
    data: str = "digits"
    """What the network learns: digits, or mnist, which takes far longer."""
    hidden: tuple[int, ...] = (30,)
    """Width of every hidden layer of the network."""
    output_bias: float = 8.0
    """Output biases of the bad start."""
    learning_rate: float = 0.5
    """The network's learning rate, with both costs."""
    batch_size: int = 32
    """Examples per step of the network."""
    epochs: int = 120
    """Passes of the network over the training data."""
    inits: int = 5
    """Initialisations of the network; what is shown is the median over them."""


def quadratic(z: Float[Array, "*B O"], t: Float[Array, "*B O"]) -> tuple[Array, Array]:
    """Each example's cost (*B,) and its delta dz (*B, O)   (1)."""
    a, saved = sigmoid.fwd(z)
    cost, error = squared_error.fwd(a, t)
    da, _ = squared_error.bwd(error, jnp.ones_like(cost))
    return cost, sigmoid.bwd(saved, da)


def cross_entropy(z: Float[Array, "*B O"], t: Float[Array, "*B O"]) -> tuple[Array, Array]:
    """Each example's cost (*B,) and its delta dz (*B, O)   (2)."""
    cost, saved = sigmoid_cross_entropy.fwd(z, t)
    dz, _ = sigmoid_cross_entropy.bwd(saved, jnp.ones_like(cost))
    return cost, dz


COSTS = {"quadratic": quadratic, "cross-entropy": cross_entropy}
STYLES = {"easy": "--", "bad": "-"}
COLOURS = {"quadratic": "#D55E00", "cross-entropy": "#0072B2"}


@partial(jax.jit, static_argnames=("cost", "epochs"))
def descend(start: Float[Array, "2"], rate: float, *, cost: str, epochs: int) -> tuple[Array, Array]:
    """One neuron's output and |dC/dw| before every epoch and after the last, each (epochs + 1,)."""

    def epoch(w_b: Array, _: Any) -> tuple[Array, tuple[Array, Array]]:
        z = jnp.sum(w_b, keepdims=True)
        _, dz = COSTS[cost](z, jnp.zeros_like(z))
        return w_b - rate * dz, (sigmoid.fwd(z)[0][0], jnp.abs(dz)[0])  # (3)

    return jax.lax.scan(epoch, start, length=epochs + 1)[1]


def starts(settings: Settings, features: int, classes: int) -> dict[str, mlp.Params]:
    """The networks of both starts, stacked along a first axis of `inits`."""
    widths = (features, *settings.hidden, classes)
    keys = jax.random.split(jax.random.key(settings.seed), settings.inits)
    easy = jax.jit(jax.vmap(lambda key: mlp.init(key, widths, dtype=jnp.float64)))(keys)
    *below, last = easy.layers
    bias = jnp.full((settings.inits, classes), settings.output_bias, jnp.float64)
    return {"easy": easy, "bad": mlp.Params((*below, last._replace(b=bias)))}


def deltas(params: mlp.Params, x: Float[Array, "B I"], t: Float[Array, "B O"], *, cost: str) -> list[Array]:
    """The delta of each layer (B, width), from input to output, of each example's own cost."""
    z, res = mlp.fwd(params, x, activation="sigmoid")
    found = [COSTS[cost](z, t)[1]]
    for k in reversed(range(1, len(params.layers))):
        _, da = dense.bwd(params.layers[k], res.dense[k], found[0])
        found.insert(0, sigmoid.bwd(res.activation[k - 1], da))  # (4)
    return found


def observe(params: mlp.Params, x: Array, t: Array, *, cost: str) -> dict[str, Array]:
    """A network's means over the examples `x` (B, I), `t` (B, O).

    `highest` is the highest of the outputs' means, `delta` (L,) each layer's norm, a root mean square;
    `quotient_error` is the largest distance of a quotient of (1) and (2) from s'(z).
    """
    z, _ = mlp.fwd(params, x, activation="sigmoid")
    slope = jax.nn.sigmoid(z) * jax.nn.sigmoid(-z)
    squares = [jnp.sum(jnp.square(dz), -1) for dz in deltas(params, x, t, cost=cost)]
    return {
        "accuracy": jnp.mean(jnp.argmax(z, -1) == jnp.argmax(t, -1), dtype=x.dtype),
        "cost": jnp.mean(COSTS[cost](z, t)[0]),
        "highest": jnp.max(jnp.mean(jax.nn.sigmoid(z), 0)),
        "slope": jnp.mean(slope),
        "delta": jnp.sqrt(jnp.mean(jnp.stack(squares), -1)),
        "quotient_error": jnp.nanmax(jnp.abs(quadratic(z, t)[1] / cross_entropy(z, t)[1] - slope)),  # not 0/0
    }


def train(
    params: mlp.Params, key: Key[Array, ""], x: Array, t: Array, *, cost: str, settings: Settings
) -> dict[str, Array]:
    """Gradient descent on batches of `x` (B, I), `t` (B, O): `observe` before every epoch and after all."""

    def step(params: mlp.Params, rows: Int[Array, "batch"]) -> tuple[mlp.Params, None]:
        z, res = mlp.fwd(params, x[rows], activation="sigmoid")
        _, dz = COSTS[cost](z, t[rows])
        grads, _ = mlp.bwd(params, res, dz / settings.batch_size, activation="sigmoid")
        return jax.tree.map(lambda p, g: p - settings.learning_rate * g, params, grads), None

    def epoch(params: mlp.Params, key: Key[Array, ""]) -> tuple[mlp.Params, dict[str, Array]]:
        steps = len(x) // settings.batch_size
        rows = jax.random.permutation(key, len(x))[: steps * settings.batch_size].reshape(steps, -1)
        return jax.lax.scan(step, params, rows)[0], observe(params, x, t, cost=cost)

    return jax.lax.scan(epoch, params, jax.random.split(key, settings.epochs + 1))[1]


def measure(settings: Settings) -> study.Figures:
    """The one neuron and the networks, from both starts and with both costs."""
    (x, y), _, classes = data.rows(data.load(settings.data, None))
    for option, (low, high) in {**LIMITS, "batch_size": (1, len(x))}.items():
        value = getattr(settings, option)
        if not low <= value <= high:
            raise errors.UserError(f"--{option.replace('_', '-')} was {value}; expected {low} to {high}.")
    if any(width < 1 for width in settings.hidden):
        raise errors.UserError(f"--hidden was {settings.hidden}; expected positive widths.")
    x, t = jnp.asarray(x, jnp.float64), jax.nn.one_hot(jnp.asarray(y), classes, dtype=jnp.float64)
    keys = jax.random.split(jax.random.key(settings.seed + 1), settings.inits)
    runs = {
        c: jax.jit(jax.vmap(partial(train, cost=c, settings=settings), (0, 0, None, None))) for c in COSTS
    }
    networks = starts(settings, x.shape[1], classes)
    return {
        "neuron": {s: {c: _neuron(settings, s, c) for c in COSTS} for s in NEURON_STARTS},
        "network": {s: {c: _network(runs[c](p, keys, x, t)) for c in COSTS} for s, p in networks.items()},
    }


def _neuron(settings: Settings, start: str, cost: str) -> study.Figures:
    w_b, epochs = jnp.array(NEURON_STARTS[start]), settings.neuron_epochs
    output, gradient = map(np.asarray, descend(w_b, settings.neuron_rate, cost=cost, epochs=epochs))
    return {
        "output": output.tolist(),
        "gradient": gradient.tolist(),
        "slope": float(output[0] * (1 - output[0])),
        "epochs_to_0.9": _epochs(output < 0.9),
        "epochs_to_0.5": _epochs(output < 0.5),
        "steepest_epoch": int(np.argmin(np.diff(output))),
        "first_gradient": float(gradient[0] / gradient.max()),
    }


def _network(seen: dict[str, Array]) -> study.Figures:
    """Each initialisation's accuracy, and the median over them of the rest."""
    accuracy, highest = np.asarray(seen["accuracy"]), np.asarray(seen["highest"])
    curves = {name: np.median(seen[name], axis=0).T.tolist() for name in ("cost", "slope", "delta")}
    return {
        **curves,  # `delta` is one for each layer
        "accuracy": accuracy.tolist(),
        "epochs_to_0.9": _epochs(highest < 0.9),
        "epochs_to_goal": _epochs(accuracy >= GOAL),
        "reached_goal": int(np.sum(np.any(accuracy >= GOAL, axis=-1))),
        "first_gradient": curves["delta"][-1][0] / max(curves["delta"][-1]),
        "quotient_error": float(jnp.max(seen["quotient_error"])),
    }


def _epochs(found: np.ndarray) -> float | None:
    """The median over the rows of `found` of the first epoch in which it holds; `None` if that is never."""
    median = float(np.median(np.where(np.any(found, -1), np.argmax(found, -1), np.inf)))
    return median if np.isfinite(median) else None


def table(figures: study.Figures) -> Table:
    """One row for each start and cost of the neuron, then of the network."""
    columns = ("epochs", "s'(z) at first", "gradient, first / largest", "delta norms at first, by layer")
    shown = Table(
        *("", "start", "cost", *(Column(name, justify="right") for name in columns)),
        caption="Epochs: neuron, output below 0.9 / 0.5; network, all mean outputs below 0.9 / accuracy 90% "
        "(runs that came there). Gradient: |dC/dw| of the neuron, the network's output delta.",
    )
    for start, cost, f in _rows(figures["neuron"]):
        epochs = f"{_shown(f['epochs_to_0.9'])} / {_shown(f['epochs_to_0.5'])}"
        shown.add_row("neuron", start, cost, epochs, f"{f['slope']:.2g}", f"{f['first_gradient']:.1%}")
    shown.add_section()
    for start, cost, f in _rows(figures["network"]):
        epochs = f"{_shown(f['epochs_to_0.9'])} / {_shown(f['epochs_to_goal'])} ({f['reached_goal']})"
        slope, norms = f"{f['slope'][0]:.2g}", "  ".join(f"{layer[0]:.1e}" for layer in f["delta"])
        shown.add_row("network", start, cost, epochs, slope, f"{f['first_gradient']:.1%}", norms)
    return shown


def draw(figures: study.Figures) -> Figure:
    """The neuron above, the networks below; colours are costs."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    (output, gradient), (accuracy, delta) = figure.subplots(2, 2)
    _curves(output, figures["neuron"], lambda f: f["output"])
    output.set(title="One neuron: output (target 0)", ylabel="output a")
    _curves(gradient, figures["neuron"], lambda f: np.divide(f["gradient"], max(f["gradient"])))
    gradient.set(title="One neuron: gradient", ylabel="|dC/dw| / its largest")
    _curves(accuracy, figures["network"], lambda f: np.transpose(f["accuracy"]))
    accuracy.set(title="Network: training accuracy, all initialisations", ylabel="fraction right")
    for cost, f in figures["network"]["bad"].items():
        for layer, norms in enumerate(f["delta"], start=1):
            width = 3 * layer / len(f["delta"])
            delta.plot(norms, color=COLOURS[cost], linewidth=width, label=f"{cost}, layer {layer}")
    delta.set(title="Network: deltas from the bad start", ylabel="norm, RMS over examples", yscale="log")
    delta.legend()
    for ax in figure.axes:
        ax.set(xlabel="epoch", xlim=(0, None))
        ax.grid(alpha=0.3)
    figure.legend(*output.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def _curves(ax: Axes, by_start: study.Figures, values: Callable[[study.Figures], Any]) -> None:
    for start, cost, f in _rows(by_start):
        ax.plot(values(f), STYLES[start], color=COLOURS[cost], label=f"{cost}, {start} start")


def _rows(by_start: study.Figures) -> list[tuple[str, str, study.Figures]]:
    return [(start, cost, f) for start, by_cost in by_start.items() for cost, f in by_cost.items()]


def sentence(figures: study.Figures) -> str:
    """What the bad starts cost, and what the deltas were there."""
    network = figures["network"]["bad"]
    found = [
        f"{_shown(f['epochs_to_0.9'])} and {_shown(network[cost]['epochs_to_0.9'])} with the {cost} cost, "
        f"the neuron's gradient beginning at {f['first_gradient']:.0%} of its largest"
        for cost, f in figures["neuron"]["bad"].items()
    ]
    error = max(f["quotient_error"] for _, _, f in _rows(figures["network"]))
    return (
        f"Epochs until a badly started neuron's and network's outputs are below 0.9: {'; '.join(found)}. "
        f"The quotient of the network's output deltas is s'(z) to within {error:.0e}."
    )


def _shown(epochs: float | None) -> str:
    return "never" if epochs is None else f"{epochs:g}"


STUDY = study.Study("saturation", Settings, measure, table, draw, sentence)

if __name__ == "__main__":
    errors.run(lambda: study.run(STUDY))
