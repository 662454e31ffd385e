"""One head of attention over two tokens of two entries each."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.worked_example.expression import (
    HALF,
    INNER,
    INVERSE_ROOT,
    SQUARED_NORM,
    Exact,
    Operation,
    added,
)
from experiments.worked_example.functions import softmax
from experiments.worked_example.layers import writing
from experiments.worked_example.layers.by_jax import At
from experiments.worked_example.sheet import Sheet

TITLE = "One head of attention over two tokens, forward and backward by hand"
BESIDE = (
    "Two tokens of two entries each, three matrices that make queries, keys and values of them, no mask, "
    "then the quadratic loss. The forms of all sizes are in manual_bp.textbook.attention."
)

GIVEN = {
    "x": [[1.0, 0.5], [-0.4, 0.8]],
    "WQ": [[0.6, -0.2], [0.3, 0.9]],
    "WK": [[0.5, 0.7], [-0.8, 0.4]],
    "WV": [[1.1, -0.6], [0.2, 0.35]],
    "y": [[0.5, 0.0], [0.25, 1.0]],
}
TRAINED = ("WQ", "WK", "WV")

MATRICES = {"q": "WQ", "k": "WK", "v": "WV"}
"""What is made of a token, and the matrix that does."""

TOKENS = (1, 2)
PAIRS = [(t, s) for t in TOKENS for s in TOKENS]
"""A query and a key."""


def forward(p: Mapping[str, Array], at: At) -> Array:
    """The loss in plain JAX, with tokens in rows."""
    q, k, v = (at(name, jnp.einsum("ti,di->td", p["x"], p[W])) for name, W in MATRICES.items())
    scale = at("scale", 1 / jnp.sqrt(jnp.asarray(q.shape[1], q.dtype)))
    z = at("z", scale * jnp.einsum("td,sd->ts", q, k))
    a = at("a", jax.nn.softmax(z))
    o = at("o", jnp.einsum("ts,sd->td", a, v))
    return jnp.sum((o - p["y"]) ** 2) / 2


def write(sheet: Sheet, rate: float) -> None:
    """All lines, from the forward pass to the loss after the update."""
    sheet.section(
        "Given",
        remark="Token t is the column x_t, its target the column y_t; matrices are written row by row.",
    )
    for name in ("x", "y"):
        for t in TOKENS:
            sheet.given((name, 1, t), f"{name}_{t}", np.reshape(GIVEN[name][t - 1], (-1, 1)))
    for W in TRAINED:
        sheet.given((W, 1), f"W_{W[1]}", np.array(GIVEN[W]))
    sheet.given(("rate", 0), r"\eta", rate)
    sheet.section(
        "Forward: queries, keys and values", r"q_t = W_Q\,x_t", r"k_s = W_K\,x_s", r"v_s = W_V\,x_s"
    )
    _mapped(sheet)
    sheet.section(
        "Forward: scores and weights",
        r"c = D^{-1/2}",
        r"z_{ts} = c\,q_t^T\,k_s",
        r"a_{ts} = \mathrm{softmax}(z_{t1}, z_{t2})_s",
        remark="D = 2 is how many entries a query has.",
    )
    c = sheet.let(("scale", 1), "c", Operation(INVERSE_ROOT, Exact("2", 2.0)))
    _weights(sheet)
    sheet.section(
        "Forward: outputs and loss",
        r"o_t = \sum_s a_{ts}\,v_s",
        r"L = \tfrac{1}{2}\,\sum_t \|o_t - y_t\|^2",
    )
    _outputs(sheet)

    a = {place: sheet["a", 1, *place] for place in PAIRS}
    q, k, v, x = ({t: sheet[name, 1, t] for t in TOKENS} for name in ("q", "k", "v", "x"))
    sheet.section(
        "Backward: outputs and weights",
        r"\delta(o_t) = o_t - y_t",
        r"\delta(a_{ts}) = \delta(o_t)^T\,v_s",
        remark="A δ is the derivative of L by what it has in brackets, δ_ts that by z_ts.",
    )
    do = {t: sheet.let(("do", 1, t), _delta(f"o_{t}"), sheet["o", 1, t] - sheet["y", 1, t]) for t in TOKENS}
    da = {
        (t, s): sheet.let(("da", 1, t, s), _delta(f"a_{{{t}{s}}}"), Operation(INNER, do[t].T, v[s]))
        for t, s in PAIRS
    }
    sheet.section(
        "Backward: through the softmax",
        r"\delta_{ts} = \sum_r \delta(a_{tr})\,\partial a_{tr}/\partial z_{ts}",
        r"\partial a_{tr}/\partial z_{ts} = a_{tr}\,([r = s] - a_{ts})",
        remark="Worked out, δ_ts is a_ts times how far δ(a_ts) lies above its mean over s with the weights "
        "a_ts. A query's δ_ts add to zero: a number added to all its scores changes nothing.",
    )
    delta = {}
    for t, s in PAIRS:
        mean = added([a[t, r] * da[t, r] for r in TOKENS])
        delta[t, s] = sheet.let(("dz", 1, t, s), rf"\delta_{{{t}{s}}}", a[t, s] * (da[t, s] - mean))
    sheet.section(
        "Backward: queries, keys and values",
        r"\delta(q_t) = c\,\sum_s \delta_{ts}\,k_s",
        r"\delta(k_s) = c\,\sum_t \delta_{ts}\,q_t",
        r"\delta(v_s) = \sum_t a_{ts}\,\delta(o_t)",
        remark="A query is in its own scores, a key and a value are in those of all queries.",
    )
    for t in TOKENS:
        sheet.let(("dq", 1, t), _delta(f"q_{t}"), c * added([delta[t, s] * k[s] for s in TOKENS]))
    for s in TOKENS:
        sheet.let(("dk", 1, s), _delta(f"k_{s}"), c * added([delta[t, s] * q[t] for t in TOKENS]))
    for s in TOKENS:
        sheet.let(("dv", 1, s), _delta(f"v_{s}"), added([a[t, s] * do[t] for t in TOKENS]))
    sheet.section(
        "Backward: the matrices, and what a layer below would get",
        r"\partial L/\partial W_Q = \sum_t \delta(q_t)\,x_t^T",
        r"\delta(x_t) = W_Q^T\,\delta(q_t) + W_K^T\,\delta(k_t) + W_V^T\,\delta(v_t)",
        remark="One matrix maps all tokens, and a token has three uses: both are sums.",
    )
    for name, W in MATRICES.items():
        terms = [sheet[f"d{name}", 1, t] @ x[t].T for t in TOKENS]
        sheet.let((f"d{W}", 1), writing.derivative(sheet[W, 1].symbol), added(terms))
    for t in TOKENS:
        terms = [sheet[W, 1].T @ sheet[f"d{name}", 1, t] for name, W in MATRICES.items()]
        sheet.let(("dx", 1, t), _delta(f"x_{t}"), added(terms))
    sheet.section("Update, when all derivatives are there", r"W \leftarrow W - \eta\,\partial L/\partial W")
    for W in TRAINED:
        old = sheet[W, 1]
        step = old - sheet["rate", 0] * sheet[f"d{W}", 1]
        sheet.let((f"new {W}", 1), old.symbol, step, relation=r"\leftarrow")
    sheet.section("Forward again")
    for part in (_mapped, _weights, _outputs):
        part(sheet, "new ")


def _delta(symbol: str) -> str:
    return rf"\delta({symbol})"


def _mapped(sheet: Sheet, new: str = "") -> None:
    for name, W in MATRICES.items():
        for t in TOKENS:
            sheet.let((f"{new}{name}", 1, t), f"{name}_{t}", sheet[f"{new}{W}", 1] @ sheet["x", 1, t])


def _weights(sheet: Sheet, new: str = "") -> None:
    for t, s in PAIRS:
        product = Operation(INNER, sheet[f"{new}q", 1, t].T, sheet[f"{new}k", 1, s])
        sheet.let((f"{new}z", 1, t, s), f"z_{{{t}{s}}}", sheet["scale", 1] * product)
    for t, s in PAIRS:
        z = [sheet[f"{new}z", 1, t, r] for r in TOKENS]
        sheet.let((f"{new}a", 1, t, s), f"a_{{{t}{s}}}", softmax(r"\mathrm{softmax}", z, s))


def _outputs(sheet: Sheet, new: str = "") -> None:
    squares = []
    for t in TOKENS:
        mean = added([sheet[f"{new}a", 1, t, s] * sheet[f"{new}v", 1, s] for s in TOKENS])
        o = sheet.let((f"{new}o", 1, t), f"o_{t}", mean)
        squares.append(Operation(SQUARED_NORM, o - sheet["y", 1, t]))
    sheet.let((f"{new}cost", 1), "L", HALF * added(squares))
