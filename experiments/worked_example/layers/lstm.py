"""A step of an LSTM: one input, one unit."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array

from experiments.worked_example.expression import HALF, SQUARE, TANH, Operation, added
from experiments.worked_example.functions import activation, slope
from experiments.worked_example.layers import writing
from experiments.worked_example.layers.by_jax import At
from experiments.worked_example.sheet import Sheet

TITLE = "A step of an LSTM, forward and backward by hand"
BESIDE = (
    "One input and one unit. The loss has the quadratic error of the new h and, times a number, the new c: "
    "so does the rest of a sequence look to one step."
)

GATES = ("i", "f", "g", "o")
GIVEN = {
    "x": 1.0,
    "h": 0.3,
    "c": -0.5,
    "w": [0.6, -0.4, 0.9, 0.2],
    "u": [-0.3, 0.7, 0.5, -0.8],
    "b": [0.1, 1.0, -0.2, 0.4],
    "y": -0.5,
    "q": 0.25,
}
TRAINED = ("w", "u", "b")

SYMBOLS = {
    "x": "x".format,
    "h": "h".format,
    "c": "c".format,
    "w": lambda n: f"w_{GATES[n - 1]}",
    "u": lambda n: f"u_{GATES[n - 1]}",
    "b": lambda n: f"b_{GATES[n - 1]}",
    "y": "y".format,
    "q": "q".format,
}


def forward(p: Mapping[str, Array], at: At) -> Array:
    """The loss in plain JAX."""
    z = at("z", p["w"] * p["x"] + p["u"] * p["h"] + p["b"])
    squashed = [jnp.tanh(z[n]) if gate == "g" else jax.nn.sigmoid(z[n]) for n, gate in enumerate(GATES)]
    i, f, g, o = at("gate", jnp.stack(squashed))
    c = at("next c", f * p["c"] + i * g)
    t = at("t", jnp.tanh(c))
    h = at("next h", o * t)
    return (h - p["y"]) ** 2 / 2 + p["q"] * c


def write(sheet: Sheet, rate: float) -> None:
    """All lines, from the forward pass to the loss after the update."""
    sheet.section(
        "Given",
        remark="x is the input, h and c the state, q what the rest of the sequence makes of the new c. Of "
        "the gates, i lets in, f keeps, o lets out; g is what is let in.",
    )
    writing.give(sheet, GIVEN, SYMBOLS, rate)
    sheet.section(
        "Forward",
        r"z_k = w_k\,x + u_k\,h + b_k",
        r"i = \sigma(z_i), f = \sigma(z_f), g = \tanh(z_g), o = \sigma(z_o)",
        r"c' = f\,c + i\,g",
        r"h' = o\,t, t = \tanh(c')",
        r"L = \tfrac{1}{2}\,(h' - y)^2 + q\,c'",
    )
    _forward(sheet)

    i, f, g, o = (sheet["gate", 1, n] for n in range(1, 5))
    t, c = sheet["t", 1], sheet["c", 1]
    sheet.section(
        "Backward: the new state",
        r"\partial L/\partial h' = h' - y",
        r"\partial L/\partial t = o\,\partial L/\partial h'",
        r"\partial L/\partial c' = q + (1 - t^2)\,\partial L/\partial t",
        remark="The new c has two uses: it goes on to the next step, and it is in the new h. They add.",
    )
    dh = sheet.let(("dnext h", 1), writing.derivative("h'"), sheet["next h", 1] - sheet["y", 1])
    dt = sheet.let(("dt", 1), writing.derivative("t"), o * dh)
    prime = slope("tanh", r"\tanh", sheet["next c", 1], t)
    dc = sheet.let(("dnext c", 1), writing.derivative("c'"), sheet["q", 1] + prime * dt)
    sheet.section(
        "Backward: the gates",
        r"\partial L/\partial i = g\,\partial L/\partial c'",
        r"\partial L/\partial f = c\,\partial L/\partial c'",
        r"\partial L/\partial g = i\,\partial L/\partial c'",
        r"\partial L/\partial o = t\,\partial L/\partial h'",
        r"\delta_k = \sigma'(z_k)\,\partial L/\partial k, \delta_g = \tanh'(z_g)\,\partial L/\partial g",
    )
    for n, derivative in enumerate((g * dc, c * dc, i * dc, t * dh), start=1):
        sheet.let(("dgate", 1, n), writing.derivative(GATES[n - 1]), derivative)
    for n, gate in enumerate(GATES, start=1):
        prime = slope(_kind(gate), _name(gate), sheet["z", 1, n], sheet["gate", 1, n])
        sheet.let(("dz", 1, n), rf"\delta_{gate}", prime * sheet["dgate", 1, n])
    sheet.section(
        "Backward: the parameters",
        r"\partial L/\partial w_k = \delta_k\,x",
        r"\partial L/\partial u_k = \delta_k\,h",
        r"\partial L/\partial b_k = \delta_k",
    )
    for n in range(1, 5):
        delta = sheet["dz", 1, n]
        sheet.let(("dw", 1, n), writing.derivative(SYMBOLS["w"](n)), delta * sheet["x", 1])
        sheet.let(("du", 1, n), writing.derivative(SYMBOLS["u"](n)), delta * sheet["h", 1])
        sheet.let(("db", 1, n), writing.derivative(SYMBOLS["b"](n)), delta)
    sheet.section(
        "Backward: what the step before and a layer below would get",
        r"\partial L/\partial x = \sum_k \delta_k\,w_k",
        r"\partial L/\partial h = \sum_k \delta_k\,u_k",
        r"\partial L/\partial c = f\,\partial L/\partial c'",
        remark="What comes back to c is only multiplied by f: so it lasts over many steps.",
    )
    for name, weights in (("x", "w"), ("h", "u")):
        terms = [sheet["dz", 1, n] * sheet[weights, 1, n] for n in range(1, 5)]
        sheet.let((f"d{name}", 1), writing.derivative(name), added(terms))
    sheet.let(("dc", 1), writing.derivative("c"), f * dc)
    writing.update(sheet, GIVEN, TRAINED)
    sheet.section("Forward again")
    _forward(sheet, "new ")


def _forward(sheet: Sheet, new: str = "") -> None:
    x, h = sheet["x", 1], sheet["h", 1]
    for n, gate in enumerate(GATES, start=1):
        w, u, b = (sheet[f"{new}{name}", 1, n] for name in ("w", "u", "b"))
        sheet.let((f"{new}z", 1, n), f"z_{gate}", w * x + u * h + b)
    for n, gate in enumerate(GATES, start=1):
        squashed = activation(_kind(gate), _name(gate), sheet[f"{new}z", 1, n])
        sheet.let((f"{new}gate", 1, n), gate, squashed)
    i, f, g, o = (sheet[f"{new}gate", 1, n] for n in range(1, 5))
    c = sheet.let((f"{new}next c", 1), "c'", f * sheet["c", 1] + i * g)
    t = sheet.let((f"{new}t", 1), "t", Operation(TANH, c))
    h = sheet.let((f"{new}next h", 1), "h'", o * t)
    cost = HALF * Operation(SQUARE, h - sheet["y", 1]) + sheet["q", 1] * c
    sheet.let((f"{new}cost", 1), "L", cost)


def _kind(gate: str) -> str:
    return "tanh" if gate == "g" else "sigmoid"


def _name(gate: str) -> str:
    return r"\tanh" if gate == "g" else r"\sigma"
