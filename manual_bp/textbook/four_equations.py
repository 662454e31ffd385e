r"""Four equations: note 004, "Understanding gradient descent and Backpropagation", which names no author.

w_jk^[l] from neuron k of layer l-1 to neuron j of layer l = 1..L.

    z_j^[l] = sum_k w_jk^[l] a_k^[l-1] + b_j^[l],   a^[0] = x                           (0a)
    a_j^[l] = g(z_j^[l])                                                                (0b)
    c_x = 1/2 |y - a^[L]|^2,   C = (1/n) sum_x c_x,   e_j^[l] = dc_x/dz_j^[l]           (0c)

    e^[L]       = J^T dc_x/da^[L]  =  dc_x/da^[L] * g'(z^[L]) where g is elementwise     (1)
    e_j^[l]     = sum_k w_kj^[l+1] e_k^[l+1] g'(z_j^[l])                                 (2)
    dc_x/db_j   = e_j^[l]                                                                (3)
    dc_x/dw_jk  = a_k^[l-1] e_j^[l]                                                      (4)

Proof, by the chain rule alone; d[...] is 1 where its condition holds, else 0.

    of (1)  c_x is a function of a^[L], and every a_k^[L] a function of z^[L]:
            dc_x/dz_j^[L] = sum_k dc_x/da_k^[L] da_k^[L]/dz_j^[L]                       (1a)
            that is J^T dc_x/da with J_kj = da_k^[L]/dz_j^[L]                           (1b)
            g elementwise:  J_kj = d[k = j] g'(z_j^[L])                                 (1c)
            so one term of the sum is left: dc_x/da_j^[L] g'(z_j^[L])                   (1d)
            c_x = 1/2 |y - a|^2:  dc_x/da_j = 1/2 * 2 (y_j - a_j) (-1) = a_j - y_j      (1e)
    of (2)  c_x depends on z_j^[l] through every z_k^[l+1] and nothing else:
            e_j^[l] = sum_k dc_x/dz_k^[l+1] dz_k^[l+1]/dz_j^[l]                         (2a)
            = sum_k e_k^[l+1] dz_k^[l+1]/dz_j^[l], by the definition of e               (2b)
            z_k^[l+1] = sum_i w_ki^[l+1] g(z_i^[l]) + b_k^[l+1]                         (2c)
            of this sum only the term i = j depends on z_j^[l]:
            dz_k^[l+1]/dz_j^[l] = w_kj^[l+1] g'(z_j^[l])                                (2d)
            (2d) in (2b) is (2); g'(z_j^[l]) does not depend on k                       (2e)
    of (3)  dc_x/db_j^[l] = sum_i dc_x/dz_i^[l] dz_i^[l]/db_j^[l]                       (3a)
            dz_i^[l]/db_j^[l] = d[i = j]                                                (3b)
            so dc_x/db_j^[l] = e_j^[l]                                                  (3c)
    of (4)  dc_x/dw_jk^[l] = sum_i dc_x/dz_i^[l] dz_i^[l]/dw_jk^[l]                     (4a)
            dz_i^[l]/dw_jk^[l] = d[i = j] a_k^[l-1], as a^[l-1] does not depend on w^[l] (4b)
            so dc_x/dw_jk^[l] = e_j^[l] a_k^[l-1]                                       (4c)
    of C    dC/dw = (1/n) sum_x dc_x/dw, as the derivative of a sum is a sum            (5)

Each line is an assertion in the tests.

Printed: z^[l] for z^[L] in (1). Printed: (1) elementwise; with softmax it needs the whole Jacobian (1b).
Printed: a_jk for a_k in (4). Printed: 1/2 (y - a)^2 for vectors, which needs the norm. Printed: a sum from
k = 2 for one from 1 to 2 in the proof of (2), which stops at (2a); (3) and (4) have no proof there. Printed,
left over below: dE/dw_jk = 1/2 sum_k (a_k - t_k)^2, a derivative equated with E, and k both summed and free;
correct, for w_jk from j to k in the last layer: (a_k - t_k) g'(z_k) a_j.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp import checks
from manual_bp.textbook.columns import Layer, Network, check, check_batch, check_forward, mean
from manual_bp.textbook.functions import ACTIVATIONS, COSTS, OUTPUTS


class Forward(NamedTuple):
    """z^[1], ..., z^[L] and a^[0] = x, ..., a^[L]."""

    z: tuple[Float[Array, " n"], ...]
    a: tuple[Float[Array, " n"], ...]


def forward(
    layers: Sequence[Layer], x: Float[Array, " I"], *, activation: str = "sigmoid", output: str = "sigmoid"
) -> Forward:
    """Forward propagation of one example."""
    names = {"activation": activation, "output": output}
    check_forward("four_equations", [w for w, _ in layers], [b for _, b in layers], x, **names)
    z, a = [], [x]
    for l, (w, b) in enumerate(layers, start=1):
        z.append(w @ a[-1] + b)  # (0a)
        g = ACTIVATIONS[activation] if l < len(layers) else OUTPUTS[output]
        a.append(g.value(z[-1]))  # (0b)
    return Forward(tuple(z), tuple(a))


def equation_1(
    dc_da: Float[Array, " O"], z: Float[Array, " O"], *, output: str = "sigmoid"
) -> Float[Array, " O"]:
    """e^[L] from dc_x/da^[L] and z^[L]."""
    return OUTPUTS[output].J(z).T @ dc_da  # (1)


def equation_2(
    w_next: Float[Array, "K J"],
    e_next: Float[Array, " K"],
    z: Float[Array, " J"],
    *,
    activation: str = "sigmoid",
) -> Float[Array, " J"]:
    """e^[l] from w^[l+1], e^[l+1] and z^[l]."""
    return jnp.einsum("kj,k,j->j", w_next, e_next, ACTIVATIONS[activation].derivative(z))  # (2)


def equation_3(e: Float[Array, " J"]) -> Float[Array, " J"]:
    """dc_x/db^[l] from e^[l]."""
    return e  # (3)


def equation_4(a_before: Float[Array, " K"], e: Float[Array, " J"]) -> Float[Array, "J K"]:
    """dc_x/dw^[l] from a^[l-1] and e^[l]."""
    return jnp.einsum("k,j->jk", a_before, e)  # (4)


def gradient(
    layers: Sequence[Layer],
    x: Float[Array, " I"],
    y: Float[Array, " O"],
    *,
    activation: str = "sigmoid",
    output: str = "sigmoid",
    cost: str = "quadratic",
) -> Network:
    """The gradient of c_x, the cost of one example."""
    names = {"activation": activation, "output": output, "cost": cost}
    check("four_equations", [w for w, _ in layers], [b for _, b in layers], x, y, **names)
    z, a = forward(layers, x, activation=activation, output=output)
    e = [equation_1(COSTS[cost].gradient(a[-1], y), z[-1], output=output)]
    for l in reversed(range(1, len(layers))):
        e.append(equation_2(layers[l].W, e[-1], z[l - 1], activation=activation))
    return tuple(
        Layer(equation_4(before, error), equation_3(error))
        for before, error in zip(a[:-1], reversed(e), strict=True)
    )


def mean_gradient(
    layers: Sequence[Layer],
    X: Float[Array, "I n"],
    Y: Float[Array, "O n"],
    *,
    activation: str = "sigmoid",
    output: str = "sigmoid",
    cost: str = "quadratic",
) -> Network:
    """The gradient of C, the mean of c_x over examples in columns."""
    names = {"activation": activation, "output": output, "cost": cost}
    check_batch("four_equations", [w for w, _ in layers], [b for _, b in layers], X, Y, **names)
    return mean(jax.vmap(lambda x, y: gradient(layers, x, y, **names), in_axes=1)(X, Y))  # (5)


def cost_with_neuron_shifted(
    layers: Sequence[Layer],
    x: Float[Array, " I"],
    y: Float[Array, " O"],
    shift: Float[Array, ""] | float,
    *,
    layer: int,
    neuron: int,
    activation: str = "sigmoid",
    output: str = "sigmoid",
    cost: str = "quadratic",
) -> Float[Array, ""]:
    """c_x with z_j^[l] + shift for z_j^[l]; to first order it changes by e_j^[l] shift.

    `layer` l and `neuron` j are counted from 1, as in the notes.
    """
    _check_place("cost_with_neuron_shifted", layers, layer, neuron)
    b = layers[layer - 1].b.at[neuron - 1].add(shift)  # z_j has b_j as a term
    changed = [*layers[: layer - 1], layers[layer - 1]._replace(b=b), *layers[layer:]]
    return COSTS[cost].value(forward(changed, x, activation=activation, output=output).a[-1], y)


def cost_with_weight_shifted(
    layers: Sequence[Layer],
    x: Float[Array, " I"],
    y: Float[Array, " O"],
    shift: Float[Array, ""] | float,
    *,
    layer: int,
    neuron: int,
    source: int,
    activation: str = "sigmoid",
    output: str = "sigmoid",
    cost: str = "quadratic",
) -> Float[Array, ""]:
    """c_x with w_jk^[l] + shift for w_jk^[l]; to first order it changes by a_k^[l-1] e_j^[l] shift.

    `layer` l, `neuron` j and `source` k, the neuron of layer l-1, are counted from 1, as in the notes.
    """
    _check_place("cost_with_weight_shifted", layers, layer, neuron)
    W = layers[layer - 1].W
    inside = 1 <= source <= W.shape[1]
    checks.option("cost_with_weight_shifted", "source", source, inside, f"1 to {W.shape[1]}")
    W = W.at[neuron - 1, source - 1].add(shift)
    changed = [*layers[: layer - 1], layers[layer - 1]._replace(W=W), *layers[layer:]]
    return COSTS[cost].value(forward(changed, x, activation=activation, output=output).a[-1], y)


def _check_place(where: str, layers: Sequence[Layer], layer: int, neuron: int) -> None:
    checks.option(where, "layer", layer, 1 <= layer <= len(layers), f"1 to {len(layers)}")
    width = layers[layer - 1].b.shape[0]
    checks.option(where, "neuron", neuron, 1 <= neuron <= width, f"1 to {width}")
