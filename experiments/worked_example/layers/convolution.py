"""A convolution: a window of two weights slides over four numbers, and a sigmoid follows."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array

from experiments.worked_example.expression import added
from experiments.worked_example.functions import activation, slope
from experiments.worked_example.layers import writing
from experiments.worked_example.layers.by_jax import At
from experiments.worked_example.sheet import Sheet

TITLE = "A convolution, forward and backward by hand"
BESIDE = "A window of two weights over four numbers, without padding, then a sigmoid and the quadratic loss."

GIVEN = {"x": [1.0, -0.5, 0.8, 0.3], "w": [0.6, -0.4], "b": 0.1, "y": [1.0, 0.0, 0.5]}
TRAINED = ("w", "b")

SYMBOLS = {"x": "x_{}".format, "w": "w_{}".format, "b": "b".format, "y": "y_{}".format}
WINDOW, OUTPUTS, INPUTS = (1, 2), (1, 2, 3), (1, 2, 3, 4)


def forward(p: Mapping[str, Array], at: At) -> Array:
    """The loss in plain JAX."""
    z = at("z", jnp.correlate(p["x"], p["w"], mode="valid") + p["b"])
    a = at("a", jax.nn.sigmoid(z))
    return jnp.sum((a - p["y"]) ** 2) / 2


def write(sheet: Sheet, rate: float) -> None:
    """All lines, from the forward pass to the loss after the update."""
    sheet.section("Given", remark="Every place of the window has the same weights and the same bias.")
    writing.give(sheet, GIVEN, SYMBOLS, rate)
    sheet.section(
        "Forward",
        r"z_t = \sum_k w_k\,x_{t+k-1} + b",
        r"a_t = \sigma(z_t)",
        r"L = \tfrac{1}{2}\,\sum_t (a_t - y_t)^2",
    )
    _forward(sheet)

    sheet.section("Backward: deltas", r"\delta_t = (a_t - y_t)\,\sigma'(z_t)")
    for t in OUTPUTS:
        z, a = sheet["z", 1, t], sheet["a", 1, t]
        error = a - sheet["y", 1, t]
        sheet.let(("dz", 1, t), rf"\delta_{t}", error * slope("sigmoid", r"\sigma", z, a))
    sheet.section(
        "Backward: the window",
        r"\partial L/\partial w_k = \sum_t \delta_t\,x_{t+k-1}",
        r"\partial L/\partial b = \sum_t \delta_t",
        remark="A weight is used at every place: what comes back to it adds.",
    )
    delta = {t: sheet["dz", 1, t] for t in OUTPUTS}
    for k in WINDOW:
        terms = [delta[t] * sheet["x", 1, t + k - 1] for t in OUTPUTS]
        sheet.let(("dw", 1, k), writing.derivative(SYMBOLS["w"](k)), added(terms))
    sheet.let(("db", 1), writing.derivative("b"), added(delta.values()))
    sheet.section(
        "Backward: what a layer below would get",
        r"\partial L/\partial x_s = \sum_k \delta_{s-k+1}\,w_k",
        remark="An input is in as many outputs as the window has places over it: inside in two, at the ends "
        "in one. The window is walked through from its end: a convolution with the weights in reverse.",
    )
    for s in INPUTS:
        terms = [delta[s - k + 1] * sheet["w", 1, k] for k in WINDOW if s - k + 1 in OUTPUTS]
        sheet.let(("dx", 1, s), writing.derivative(SYMBOLS["x"](s)), added(terms))
    writing.update(sheet, GIVEN, TRAINED)
    sheet.section("Forward again")
    _forward(sheet, "new ")


def _forward(sheet: Sheet, new: str = "") -> None:
    for t in OUTPUTS:
        terms = [sheet[f"{new}w", 1, k] * sheet["x", 1, t + k - 1] for k in WINDOW]
        sheet.let((f"{new}z", 1, t), f"z_{t}", added(terms) + sheet[f"{new}b", 1])
    for t in OUTPUTS:
        sheet.let((f"{new}a", 1, t), f"a_{t}", activation("sigmoid", r"\sigma", sheet[f"{new}z", 1, t]))
    outputs, targets = ([sheet[name, 1, t] for t in OUTPUTS] for name in (f"{new}a", "y"))
    writing.loss(sheet, outputs, targets, new)
