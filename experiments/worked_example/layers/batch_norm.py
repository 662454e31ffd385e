"""Batch normalisation: one feature of three examples, with a gain and a bias."""

from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array

from experiments.worked_example.expression import (
    CUBE,
    HALF,
    INVERSE_ROOT,
    SQUARE,
    Exact,
    Operation,
    added,
)
from experiments.worked_example.layers import writing
from experiments.worked_example.layers.by_jax import At
from experiments.worked_example.sheet import Sheet

TITLE = "A batch norm, forward and backward by hand"
BESIDE = "One feature of a batch of three examples, with a gain and a bias, then the quadratic loss."

GIVEN = {"x": [1.0, 4.0, 2.2], "g": 0.8, "c": 0.2, "e": 0.01, "y": [0.5, 1.0, -0.5]}
TRAINED = ("g", "c")

SYMBOLS = {
    "x": "x_{}".format,
    "g": "g".format,
    "c": "c".format,
    "e": r"\varepsilon".format,
    "y": "y_{}".format,
}
BATCH = (1, 2, 3)
SIZE = Exact("3", 3.0)


def forward(p: Mapping[str, Array], at: At) -> Array:
    """The loss in plain JAX."""
    m = at("m", jnp.mean(p["x"]))
    v = at("v", jnp.mean((p["x"] - m) ** 2))
    r = at("r", 1 / jnp.sqrt(v + p["e"]))
    n = at("n", (p["x"] - m) * r)
    a = at("a", p["g"] * n + p["c"])
    return jnp.sum((a - p["y"]) ** 2) / 2


def write(sheet: Sheet, rate: float) -> None:
    """All lines, from the forward pass to the loss after the update."""
    sheet.section("Given", remark="x_b is the feature in example b; g is the gain and c the bias.")
    writing.give(sheet, GIVEN, SYMBOLS, rate)
    sheet.section(
        "Forward: the statistics of the batch",
        r"m = (1/B)\,\sum_b x_b",
        r"v = (1/B)\,\sum_b (x_b - m)^2",
        r"r = (v + \varepsilon)^{-1/2}",
    )
    x = {b: sheet["x", 1, b] for b in BATCH}
    m = sheet.let(("m", 1), "m", added(x.values()) / SIZE)
    squares = [Operation(SQUARE, x[b] - m) for b in BATCH]
    v = sheet.let(("v", 1), "v", added(squares) / SIZE)
    r = sheet.let(("r", 1), "r", Operation(INVERSE_ROOT, v + sheet["e", 1]))
    sheet.section(
        "Forward: the examples",
        r"n_b = (x_b - m)\,r",
        r"a_b = g\,n_b + c",
        r"L = \tfrac{1}{2}\,\sum_b (a_b - y_b)^2",
    )
    n = {b: sheet.let(("n", 1, b), f"n_{b}", (x[b] - m) * r) for b in BATCH}
    _forward(sheet)

    sheet.section("Backward: gain and bias", r"\partial L/\partial a_b = a_b - y_b")
    da = {
        b: sheet.let(("da", 1, b), writing.derivative(f"a_{b}"), sheet["a", 1, b] - sheet["y", 1, b])
        for b in BATCH
    }
    sheet.let(("dg", 1), writing.derivative("g"), added(da[b] * n[b] for b in BATCH))
    sheet.let(("dc", 1), writing.derivative("c"), added(da.values()))
    sheet.section(
        "Backward: the normalised feature and the statistics",
        r"\partial L/\partial n_b = g\,\partial L/\partial a_b",
        r"\partial L/\partial r = \sum_b (x_b - m)\,\partial L/\partial n_b",
        r"\partial L/\partial v = -\tfrac{1}{2}\,r^3\,\partial L/\partial r",
        r"\partial L/\partial m = -r\,\sum_b \partial L/\partial n_b",
        remark="Each example is in the statistics of all. By way of v there comes back to m, too, -2/B times "
        "the sum of the x_b - m, which is zero.",
    )
    g = sheet["g", 1]
    dn = {b: sheet.let(("dn", 1, b), writing.derivative(f"n_{b}"), g * da[b]) for b in BATCH}
    dr = sheet.let(("dr", 1), writing.derivative("r"), added((x[b] - m) * dn[b] for b in BATCH))
    dv = sheet.let(("dv", 1), writing.derivative("v"), -(HALF * Operation(CUBE, r) * dr))
    dm = sheet.let(("dm", 1), writing.derivative("m"), -(r * added(dn.values())))
    sheet.section(
        "Backward: what a layer below would get",
        r"\partial L/\partial x_b = r\,\partial L/\partial n_b "
        r"+ (2/B)\,(x_b - m)\,\partial L/\partial v + (1/B)\,\partial L/\partial m",
        remark="Three ways lead to an x_b: by its own n_b, by v and by m. They add, and over the batch the "
        "sum of all is zero: a number added to all examples changes nothing.",
    )
    two = Exact("2", 2.0)
    for b in BATCH:
        by_v, by_m = two * (x[b] - m) * dv / SIZE, dm / SIZE
        sheet.let(("dx", 1, b), writing.derivative(f"x_{b}"), r * dn[b] + by_v + by_m)
    writing.update(sheet, GIVEN, TRAINED)
    sheet.section("Forward again, from what has changed")
    _forward(sheet, "new ")


def _forward(sheet: Sheet, new: str = "") -> None:
    for b in BATCH:
        gained = sheet[f"{new}g", 1] * sheet["n", 1, b] + sheet[f"{new}c", 1]
        sheet.let((f"{new}a", 1, b), f"a_{b}", gained)
    outputs, targets = ([sheet[name, 1, b] for b in BATCH] for name in (f"{new}a", "y"))
    writing.loss(sheet, outputs, targets, new)
