r"""One head of attention, in the letters of note 002 carried on: index, vector and batch form.

A sequence of T tokens, x_t of n entries each, is the columns of X (n, T). Three matrices make of a token its
query, key and value, which stand where the note has z: they are affine maps without a bias. A query's scores
z_t1..z_tT go through a softmax to a_t1..a_tT, as the z of the note's last layer do, and these weight the
values:

    q_t = W^Q x_t,   k_s = W^K x_s,   v_s = W^V x_s,   each of D entries                    (1)
    z_ts = c sum_(d=1..D) q_td k_sd,   c = 1/sqrt(D)                                        (2)
    a_ts = e^(z_ts) / sum_r e^(z_tr)                                                        (3)
    o_td = sum_s a_ts v_sd                                                                  (4)
    L = 1/2 sum_t |o_t - y_t|^2                                                             (5)

The sums over s and r are over all T tokens, or, in a causal head, over s = 1..t: what follows is not seen.

Index form. A delta is the derivative of L by what it has in brackets; delta_ts alone is the note's, by z_ts:

    delta(o_td) = o_td - y_td                                                               (6)
    delta(a_ts) = sum_d delta(o_td) v_sd,   delta(v_sd) = sum_t a_ts delta(o_td)            (7)
    delta_ts = sum_r delta(a_tr) da_tr/dz_ts,   da_tr/dz_ts = a_tr ([r = s] - a_ts)         (8)
    delta(q_td) = c sum_s delta_ts k_sd,   delta(k_sd) = c sum_t delta_ts q_td              (9)
    dL/dw^Q_di = sum_t delta(q_td) x_ti,   and so for w^K, w^V                              (10)

A token is in its own query and in a key and a value of every query that sees it: sums over t in (7), (9) and,
as one matrix maps all tokens, in (10). Vector form, one query t, with the keys k_s and the values v_s as the
columns of K and V, and the Jacobian J_t of its softmax:

    J_t = diag(a_t) - a_t a_t^T,   delta_t = J_t^T delta(a_t),   delta(a_t) = V^T delta(o_t)            (11)
    delta(q_t) = c K delta_t,  delta(K) = c sum_t q_t delta_t^T,  delta(V) = sum_t delta(o_t) a_t^T     (12)

Batch form: the queries of a sequence are columns side by side, so that A (T, T) has a_t in its column t. J_t
is not formed: J_t^T u = a_t * (u - a_t^T u). The cost of B sequences is the mean of their L.

    O = V A,   D_A = V^T D_O,   D = A * (D_A - 1 1^T (A * D_A))                                         (13)
    D_Q = c K D,   D_K = c Q D^T,   D_V = D_O A^T,   dL/dW^Q = D_Q X^T, and so on                       (14)
    dC/dW = (1/B) sum over the sequences of dL/dW                                                       (15)

No note treats attention. With D_O for (6), (13) and (14) are what `manual_bp.ops.attention` computes for one
head, of rows instead of columns.  Vaswani et al. 2017, arXiv:1706.03762.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp import checks
from manual_bp.textbook.columns import mean
from manual_bp.textbook.functions import quadratic, softmax, softmax_jacobian


class Head(NamedTuple):
    """The matrices (D, n) that make queries, keys and values of tokens, or the gradient by them."""

    WQ: Float[Array, "D n"]
    WK: Float[Array, "D n"]
    WV: Float[Array, "D n"]


class States(NamedTuple):
    """What a sequence goes through, each token or query a column: A (T, T) has its softmax in column t."""

    Q: Float[Array, "D T"]
    K: Float[Array, "D T"]
    V: Float[Array, "D T"]
    A: Float[Array, "T T"]
    O: Float[Array, "D T"]


def forward(head: Head, X: Float[Array, "n T"], *, causal: bool = False) -> States:
    """The states of one sequence."""
    _check(head, X)
    Q, K, V = (W @ X for W in head)  # (1)
    Z = K.T @ Q / jnp.sqrt(Q.shape[0]).astype(X.dtype)  # (2), column t for query t
    if causal:
        Z = jnp.where(jnp.triu(jnp.ones(Z.shape, bool)), Z, -jnp.inf)  # s <= t is above the diagonal
    A = softmax(Z)  # (3)
    return States(Q, K, V, A, V @ A)  # (4)


def cost(head: Head, X: Float[Array, "n T"], Y: Float[Array, "D T"], *, causal: bool = False) -> Array:
    """L of one sequence."""
    return quadratic(forward(head, X, causal=causal).O, Y)  # (5)


def index_form(head: Head, X: Float[Array, "n T"], Y: Float[Array, "D T"], *, causal: bool = False) -> Head:
    """The gradient of one sequence's L by explicit loops over tokens and entries; for short ones."""
    _check(head, X, Y)
    (D, n), T = head.WQ.shape, X.shape[1]
    c = 1 / D**0.5

    def sum_of(terms: list[Array]) -> Array:
        return jnp.sum(jnp.stack(terms))

    def mapped(W: Array) -> list[list[Array]]:
        return [[sum_of([W[d, i] * X[i, t] for i in range(n)]) for d in range(D)] for t in range(T)]

    seen = [range(t + 1 if causal else T) for t in range(T)]
    by = [range(s if causal else 0, T) for s in range(T)]  # the queries that see a token
    q, k, v = map(mapped, head)  # (1)
    a, delta_o, delta_a, delta = [], [], [], []
    for t in range(T):
        z = [c * sum_of([q[t][d] * k[s][d] for d in range(D)]) for s in seen[t]]  # (2)
        e = [jnp.exp(z_s) for z_s in z]
        a.append([e_s / sum_of(e) for e_s in e])  # (3)
        o = [sum_of([a[t][s] * v[s][d] for s in seen[t]]) for d in range(D)]  # (4)
        delta_o.append([o[d] - Y[d, t] for d in range(D)])  # (6)
        delta_a.append([sum_of([delta_o[t][d] * v[s][d] for d in range(D)]) for s in seen[t]])  # (7)
        delta.append(
            [sum_of([delta_a[t][r] * a[t][r] * (float(r == s) - a[t][s]) for r in seen[t]]) for s in seen[t]]
        )  # (8)
    delta_v = [[sum_of([a[t][s] * delta_o[t][d] for t in by[s]]) for d in range(D)] for s in range(T)]  # (7)
    delta_q = [[c * sum_of([delta[t][s] * k[s][d] for s in seen[t]]) for d in range(D)] for t in range(T)]
    delta_k = [
        [c * sum_of([delta[t][s] * q[t][d] for t in by[s]]) for d in range(D)] for s in range(T)
    ]  # (9)

    def by_weights(of_token: list[list[Array]]) -> Array:
        rows = [
            [sum_of([of_token[t][d] * X[i, t] for t in range(T)]) for i in range(n)] for d in range(D)
        ]  # (10)
        return jnp.stack([jnp.stack(row) for row in rows])

    return Head(*map(by_weights, (delta_q, delta_k, delta_v)))


def gradient(head: Head, X: Float[Array, "n T"], Y: Float[Array, "D T"], *, causal: bool = False) -> Head:
    """The gradient of one sequence's L in vector form, a query at a time."""
    _check(head, X, Y)
    D, T = head.WQ.shape[0], X.shape[1]
    c = 1 / D**0.5
    Q, K, V = (W @ X for W in head)  # (1)
    delta_Q, delta_K, delta_V = map(jnp.zeros_like, (Q, K, V))
    for t in range(T):
        seen = slice(t + 1 if causal else T)
        z = c * (K[:, seen].T @ Q[:, t])  # (2)
        a = softmax(z)  # (3)
        delta_o = V[:, seen] @ a - Y[:, t]  # (4), (6)
        J = softmax_jacobian(z)
        delta = J.T @ (V[:, seen].T @ delta_o)  # (11)
        delta_Q = delta_Q.at[:, t].set(c * (K[:, seen] @ delta))  # (12)
        delta_K = delta_K.at[:, seen].add(c * jnp.outer(Q[:, t], delta))
        delta_V = delta_V.at[:, seen].add(jnp.outer(delta_o, a))
    return Head(delta_Q @ X.T, delta_K @ X.T, delta_V @ X.T)  # (10)


def batch_form(
    head: Head, X: Float[Array, "B n T"], Y: Float[Array, "B D T"], *, causal: bool = False
) -> Head:
    """The gradient of the mean cost of B sequences, each with its tokens in columns."""
    _check(head, X, Y, axes=3)

    def of_one(X: Float[Array, "n T"], Y: Float[Array, "D T"]) -> Head:
        states = forward(head, X, causal=causal)
        return Head(*(D @ X.T for D in backward(states, states.O - Y)))  # (6), (14)

    return mean(jax.vmap(of_one)(X, Y))  # (15)


def backward(
    states: States, D_O: Float[Array, "D T"]
) -> tuple[Float[Array, "D T"], Float[Array, "D T"], Float[Array, "D T"]]:
    """The deltas of Q, K and V from those of O, in matrices: what the op's `bwd` does."""
    Q, K, V, A, _ = states
    c = 1 / Q.shape[0] ** 0.5
    D_A = V.T @ D_O
    D = A * (D_A - jnp.sum(A * D_A, axis=0, keepdims=True))  # (13)
    return c * K @ D, c * Q @ D.T, D_O @ A.T  # (14)


def _check(head: Head, X: Array, Y: Array | None = None, *, axes: int = 2) -> None:
    where = "attention"
    checks.params(where, head, Head, "head")
    checks.floating(where, X=X, **{f"head.{name}": W for name, W in zip(Head._fields, head, strict=True)})
    wanted = "(n, T)" if axes == 2 else "(B, n, T)"
    checks.option(
        where, "the shape of X", X.shape, X.ndim == axes and 0 not in X.shape, f"{wanted}, none zero"
    )
    D = head.WQ.shape[0]
    for name, W in zip(Head._fields, head, strict=True):
        checks.shape(where, f"head.{name}", W, (D, X.shape[-2]), f", as X has shape {X.shape}")
    if Y is not None:
        checks.floating(where, Y=Y)
        checks.shape(where, "Y", Y, (*X.shape[:-2], D, X.shape[-1]), ", the outputs")
