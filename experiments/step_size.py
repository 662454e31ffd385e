r"""How small should the step of a numerical derivative be?

The derivative f' of the mean loss f of a network along a direction v, estimated with a step h by the
differences of `experiments.differences`, is wrong by what Taylor's series leaves out and by rounding:

    forward        h |f''| / 2     + eps |f| / h      least at h* = (2 eps |f| / |f''|)^(1/2)       (1)
    central        h^2 |f'''| / 6  + eps |f| / h      least at h* = (3 eps |f| / |f'''|)^(1/3)      (2)
    complex step   h^2 |f'''| / 6  + eps |f'|         flat below h* = (6 eps |f'| / |f'''|)^(1/2)   (3)

With all derivatives of order one, h* is the textbook's eps^(1/2), of (2) eps^(1/3). Here v are random unit
vectors, along which a network of P parameters bends little, so that h* is larger. The truth is the
hand-written gradient in float64 at the float32 network's own parameters, inputs and directions. Errors are
relative to |grad f| / P^(1/2), the root mean square (RMS) of f' over all unit vectors.

With relu, f is smooth only between kinks. A step of +-h along v takes the pre-activation z_bj of example b
and hidden unit j through zero if |z_bj| < h |dz_bj|, where dz_bj, its derivative along v, is about normal
with the variance (|x_b|^2 + 1) / P. The chances p_bj of a kink, and of any if all were independent, are

    p_bj = erfc(|z_bj| / (h (2 (|x_b|^2 + 1) / P)^(1/2))),      p = 1 - prod_bj (1 - p_bj).         (4)

The number n of kinks grows with h and with the B examples of a mean loss, of which each bends 1/B, up or
down. Many put the central difference wrong by about n^(1/2) / B or (h / B)^(1/2), which falls slowly with h.

Squire & Trapp 1998, SIAM Review 40(1), 110-112 (complex step).
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from experiments import data
from experiments.common import errors, study
from experiments.common.numerical import central, complex_step, forward
from manual_bp.models import mlp
from manual_bp.ops import dense

METHODS = {"forward": forward, "central": central, "complex step": complex_step}
COLOURS = {"forward": "#D55E00", "central": "#0072B2", "complex step": "#009E73"}

STEPS = np.array([*10.0 ** (1 - np.arange(52) / 3), 1e-20, 1e-30])
"""Largest first; 1e-30 is near the smallest numbers of float32."""

INPUTS, HIDDEN, OUTPUTS = 64, 20, 10
"""Widths of the network's layers; digits have 64 pixels and 10 classes."""

SIZES = INPUTS * HIDDEN, HIDDEN, HIDDEN * OUTPUTS, OUTPUTS
SCALES = np.repeat([INPUTS**-0.5, 0.5, HIDDEN**-0.5, 0.5], SIZES)
"""Size of the weights and biases in theta; random biases keep pre-activations from being exactly zero."""

ACTIVATIONS = {
    "sigmoid": lambda z: 1 / (1 + jnp.exp(-z)),  # by definition, as jax.nn.sigmoid takes no complex numbers
    "relu": lambda z: jnp.maximum(z, 0),
}


@dataclasses.dataclass(frozen=True)
class Settings(study.Settings):
    """How small should the step of a numerical derivative be, and what do the kinks of relu do to it?"""

    examples: int = 32
    """Digits that the loss with sigmoid averages over."""
    directions: int = 200
    """Random directions; with relu each of them has its own network and digits."""
    batch_sizes: tuple[int, ...] = (1, 4, 16, 64, 256, 1024)
    """Numbers of digits that the loss with relu averages over."""
    kink_steps: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
    """Steps of the central differences with relu, in float64."""


def as_params(theta: Array) -> mlp.Params:
    """The network whose parameters are the real or complex vector theta (P,)."""
    w1, b1, w2, b2 = jnp.split(theta, np.cumsum(SIZES[:-1]))
    return mlp.Params((dense.Params(w1.reshape(INPUTS, -1), b1), dense.Params(w2.reshape(-1, OUTPUTS), b2)))


def mean_loss(theta: Array, x: Float[Array, "B I"], labels: Int[Array, "B"], activation: str) -> Array:
    """The mean softmax cross-entropy as plain forward code, in the real or complex dtype of theta (P,)."""
    first, last = as_params(theta).layers
    z = _affine(last, ACTIVATIONS[activation](_affine(first, x.astype(theta.dtype))))
    z -= jnp.max(z.real, -1, keepdims=True).astype(z.dtype)
    target = jnp.take_along_axis(z, labels[:, None], -1)[:, 0]
    return jnp.mean(jnp.log(jnp.sum(jnp.exp(z), -1)) - target)


@partial(jax.jit, static_argnames="activation")
def truth(theta: Array, x: Array, labels: Array, activation: str) -> tuple[Array, Array, Array]:
    """`mean_loss` in float64, its hand-written gradient (P,) and |grad f| / P^(1/2)."""
    loss, gradients = mlp.value_and_grad(as_params(theta), (x, labels), activation=activation)
    gradient, _ = ravel_pytree(gradients)
    return loss, gradient, jnp.sqrt(jnp.mean(jnp.square(gradient)))


@partial(jax.jit, static_argnames="method")
def estimates(theta: Array, directions: Array, steps: Array, x: Array, labels: Array, method: str) -> Array:
    """What a method makes of f' with each step along each direction (S, D), in the dtype of theta (P,)."""
    f = partial(mean_loss, x=x, labels=labels, activation="sigmoid")
    along = jax.vmap(lambda v, h: METHODS[method](f, theta, v, h), in_axes=(0, None))
    return jax.lax.map(lambda h: along(directions, h), steps)


@jax.jit
def kinks(
    rows: Int[Array, "D B"], thetas: Float[Array, "D P"], directions: Float[Array, "D P"],
    steps: Float[Array, "S"], x: Float[Array, "N I"], labels: Int[Array, "N"],
) -> tuple[Bool[Array, "D S"], Float[Array, "D S"], Float[Array, "D S"]]:  # fmt: skip
    """For each network, direction and batch: is a kink met, the chance of it by (4), and the error of (2)."""

    def case(arguments: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        batch, theta, v = arguments
        xb, yb = x[batch], labels[batch]
        f = partial(mean_loss, x=xb, labels=yb, activation="relu")
        _, gradient, rms = truth(theta, xb, yb, "relu")
        z, dz = (_affine(as_params(vector).layers[0], xb) for vector in (theta, v))
        spread = jnp.sqrt(2 * (jnp.sum(jnp.square(xb), -1, keepdims=True) + 1) / theta.size)

        def at(h: Array) -> tuple[Array, Array, Array]:
            met = (z + h * dz > 0) != (z - h * dz > 0)
            p = jax.lax.erfc(jnp.abs(z) / (h * spread))  # (4)
            error = jnp.abs(central(f, theta, v, h) - jnp.vdot(gradient, v)) / rms
            return jnp.any(met), 1 - jnp.prod(1 - p), error

        return jax.lax.map(at, steps)

    return jax.lax.map(case, (rows, thetas, directions), batch_size=20)


def measure(settings: Settings) -> study.Figures:
    """The error of each method with each step in both dtypes, then the kinks of relu."""
    images, classes = data.rows(data.digits.load()).train
    _check(settings, len(images))
    x, labels = jnp.asarray(images, jnp.float64), jnp.asarray(classes)
    rng, shape = np.random.default_rng(settings.seed), (settings.directions, SCALES.size)
    thetas = jnp.asarray(SCALES * rng.standard_normal(shape), jnp.float32)
    v = rng.standard_normal(shape)
    v = jnp.asarray(v / np.linalg.norm(v, axis=1, keepdims=True), jnp.float32)
    figures = {
        "steps": STEPS.tolist(),
        "errors": _errors(thetas[0], v, x[: settings.examples], labels[: settings.examples]),
        "kink_steps": list(settings.kink_steps),
        "kinks": {},
    }
    order = rng.permuted(np.tile(np.arange(len(x)), (len(v), 1)), axis=1)
    cases = thetas.astype(x.dtype), v.astype(x.dtype), jnp.asarray(settings.kink_steps), x, labels
    for size in settings.batch_sizes:
        met, chance, error = map(np.asarray, kinks(jnp.asarray(order[:, :size]), *cases))
        figures["kinks"][str(size)] = {
            "crossing": np.mean(met, axis=0).tolist(),
            "crossing_theory": np.mean(chance, axis=0).tolist(),
            "median_error": np.median(error, axis=0).tolist(),
            "error_95": np.quantile(error, 0.95, axis=0).tolist(),
        }
    return figures


def _errors(theta: Array, directions: Array, x: Array, labels: Array) -> study.Figures:
    def slope(v: Array, t: float) -> Array:
        return jnp.vdot(truth(wide + t * v, x, labels, "sigmoid")[1], v)

    wide, t = theta.astype(x.dtype), 1e-2
    slopes = partial(jax.jit(jax.vmap(slope, in_axes=(0, None))), directions.astype(x.dtype))
    ahead, here, behind = slopes(t), slopes(0.0), slopes(-t)
    derivatives = here, (ahead - behind) / (2 * t), (ahead - 2 * here + behind) / t**2
    f, rms = (float(value) for value in truth(wide, x, labels, "sigmoid")[::2])
    f1, f2, f3 = (float(jnp.median(jnp.abs(values))) for values in derivatives)  # enough for the theory
    figures: study.Figures = {"float64": {}, "float32": {}}
    for dtype, by_method in figures.items():
        eps = float(jnp.finfo(dtype).eps)
        theory = {  # truncation, rounding, h* and its power of eps
            "forward": (STEPS * f2 / 2, eps * f / STEPS, 2 * eps * f / f2, 1 / 2),  # (1)
            "central": (STEPS**2 * f3 / 6, eps * f / STEPS, 3 * eps * f / f3, 1 / 3),  # (2)
            "complex step": (STEPS**2 * f3 / 6, eps * f1, 6 * eps * f1 / f3, 1 / 2),  # (3)
        }
        arguments = theta.astype(dtype), directions.astype(dtype), jnp.asarray(STEPS, dtype), x, labels
        for method, (truncation, rounding, base, power) in theory.items():
            off = jnp.abs(estimates(*arguments, method=method).astype(x.dtype) - here[None])
            error = np.median(off, axis=1) / rms
            by_method[method] = {
                **_summary(error, flat=method == "complex step"),
                "theory_step": base**power,
                "textbook_error": float(error[np.abs(np.log(STEPS / eps**power)).argmin()]),
                "theory": ((truncation + rounding) / rms).tolist(),
            }
    return figures


def _summary(error: np.ndarray, *, flat: bool) -> study.Figures:
    """The best step, of a flat curve the largest within twice the least error, and the order beyond it."""
    best = int(np.argmax(error <= 2 * error.min()) if flat else np.argmin(error))
    beyond = (3 * STEPS[best] < STEPS) & (error < 0.02)
    order = np.polyfit(np.log(STEPS[beyond]), np.log(error[beyond]), 1)[0] if beyond.sum() > 1 else None
    least = {"best_step": float(STEPS[best]), "best_error": float(error[best])}
    return {"error": error.tolist(), **least, "order": None if order is None else float(order)}


def _check(settings: Settings, count: int) -> None:
    digits = (1, count)
    limits = {"directions": (1, 1e5), "examples": digits, "batch_sizes": digits, "kink_steps": (1e-12, 10)}
    for option, (low, high) in limits.items():
        values = np.atleast_1d(getattr(settings, option)).tolist()
        if not values or not all(low <= value <= high for value in values):
            shown = f"--{option.replace('_', '-')} was {' '.join(map(str, values))}"
            raise errors.UserError(f"{shown}; expected {low:g} to {high:g}.")


def _affine(layer: dense.Params, a: Array) -> Array:
    assert layer.b is not None
    return jnp.matmul(a, layer.w, precision="highest") + layer.b[None]


def table(figures: study.Figures) -> Table:
    """The best steps above, the kinks below."""
    said = "Error: the median over directions, at the best and the textbook's step. Order: beyond the best."
    best = Table(caption=said)
    for column in ("dtype", "difference", "best step", "in theory", "error", "textbook", "order"):
        best.add_column(column)
    for dtype, methods in figures["errors"].items():
        for method, f in methods.items():
            below = "< " if method == "complex step" else "  "
            steps = [f"{below}{f[name]:.1e}" for name in ("best_step", "theory_step")]
            order = "" if f["order"] is None else f"{f['order']:.2f}"
            best.add_row(dtype, method, *steps, f"{f['best_error']:.1e}", f"{f['textbook_error']:.1e}", order)
        best.add_section()
    said = "Per cent: directions that meet a kink. Below: the median and the 95% quantile of the error."
    relu = Table("relu, float64", *(f"h = {step:.0e}" for step in figures["kink_steps"]), caption=said)
    for size, f in figures["kinks"].items():
        cells = zip(f["crossing"], f["median_error"], f["error_95"], strict=True)
        said = f"examples: {size}\nmedian error\n95% error"
        relu.add_row(said, *(f"{c:.1%}\n{d:.0e}\n{q:.0e}" for c, d, q in cells), end_section=True)
    both = Table.grid(padding=(1, 0))
    both.add_row(best)
    both.add_row(relu)
    return both


def draw(figures: study.Figures) -> Figure:
    """The curves of both dtypes above, the kinks below."""
    figure = Figure(figsize=(11, 9), layout="constrained")
    axes = figure.subplots(2, 2)
    for ax, (dtype, methods) in zip(axes[0], figures["errors"].items(), strict=True):
        for method, f in methods.items():
            ax.loglog(figures["steps"], f["error"], color=COLOURS[method], linewidth=2, label=method)
            ax.loglog(figures["steps"], f["theory"], ":", color=COLOURS[method])
            ax.loglog(f["best_step"], f["best_error"], "o", color=COLOURS[method], markersize=7)
        ax.plot([], [], "k:", label="theory")
        ax.set(title=f"sigmoid, {dtype}", xlabel="step h", xlim=(1e-18, 30), ylim=(1e-17, 1e2))
        ax.set_ylabel("median error / RMS of f'")
    _against_examples(axes[1, 0], figures, "crossing", "o-")
    _against_examples(axes[1, 0], figures, "crossing_theory", ":")
    axes[1, 0].plot([], [], "k:", label="theory")
    axes[1, 0].set(title="relu: steps $\\pm$h that meet a kink", ylabel="fraction of directions")
    _against_examples(axes[1, 1], figures, "error_95", "o-")
    axes[1, 1].set(title="relu: central differences in float64", yscale="log", ylim=(1e-13, 1))
    axes[1, 1].set_ylabel("95% quantile of error / RMS of f'")
    for ax in axes.flat:
        ax.grid(alpha=0.3)
        ax.legend()
    return figure


def _against_examples(ax: Axes, figures: study.Figures, name: str, style: str) -> None:
    for i, step in enumerate(figures["kink_steps"]):
        colour = colormaps["viridis"](0.9 * i / max(len(figures["kink_steps"]) - 1, 1))
        values = [f[name][i] for f in figures["kinks"].values()]
        label = None if style == ":" else f"h = {step:.0e}"
        ax.plot(list(map(int, figures["kinks"])), values, style, color=colour, label=label)
    ax.set_xscale("log", base=2)
    ax.set_xlabel("examples that the loss averages over")


def sentence(figures: study.Figures) -> str:
    """The best steps, and the kinks at the step where they depend most on the number of examples."""
    said = ""
    for dtype, f in figures["errors"].items():
        best, flat = f["central"], f["complex step"]["error"][-1]
        said += (
            f"In {dtype} central differences are right to {best['best_error']:.0e} with their best step, "
            f"{best['best_step']:.1e}, and to {best['textbook_error']:.0e} with the textbook's, eps^(1/3); "
            f"complex steps to {flat:.0e}. "
        )
    few, many = (choose(figures["kinks"], key=int) for choose in (min, max))
    less, more = (figures["kinks"][size]["crossing"] for size in (few, many))
    i = int(np.argmax(np.subtract(more, less)))
    return said + (
        f"With relu and h = {figures['kink_steps'][i]:.0e} a kink is met by {less[i]:.1%} of the directions "
        f"for a loss over {few}, by {more[i]:.1%} for one over {many} examples."
    )


STUDY = study.Study("step_size", Settings, measure, table, draw, sentence)

if __name__ == "__main__":
    errors.run(lambda: study.run(STUDY))
