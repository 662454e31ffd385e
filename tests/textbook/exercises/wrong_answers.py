"""Wrong answers as readers give them, and what the verifier says of each."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def softmax_back(p, dp):
    return p * (dp - jnp.sum(p * dp, -1, keepdims=True))


def one_hot(labels, p):
    return jax.nn.one_hot(labels, p.shape[-1], dtype=p.dtype)


# 1, the delta of the output layer


def delta_without_s_prime(residuals, dE):
    a, y = residuals
    return dE * (a - y)


def delta_with_y_minus_a(residuals, dE):
    a, y = residuals
    return dE * (y - a) * a * (1 - a)


def delta_whatever_comes_back(residuals, dE):
    a, y = residuals
    return (a - y) * a * (1 - a)


# 2, the bias gradient


def bias_by_the_mean(residuals, dz):
    return dz, jnp.mean(dz, axis=0)


def bias_not_summed(residuals, dz):
    return dz, dz


def bias_of_the_last_example(residuals, dz):
    return dz, dz[-1]


# 3, the weight gradient


def weights_transposed(residuals, dz):
    x, W = residuals
    return dz @ W.T, dz.T @ x


def weights_by_the_mean(residuals, dz):
    x, W = residuals
    return dz @ W.T, x.T @ dz / len(x)


def product_the_wrong_way_round(residuals, dz):
    x, W = residuals
    return W.T @ dz, x.T @ dz


# 4, the delta of a hidden layer


def hidden_without_s_prime(residuals, du):
    a, W = residuals
    return du @ W.T, a.T @ du


def hidden_s_prime_of_a(residuals, du):
    a, W = residuals
    s = jax.nn.sigmoid(a)
    return (du @ W.T) * s * (1 - s), a.T @ du


def hidden_tanh_prime(residuals, du):
    a, W = residuals
    return (du @ W.T) * (1 - a**2), a.T @ du


# 5, softmax


def softmax_diagonal(residuals, dp):
    p = residuals
    return dp * p * (1 - p)


def softmax_over_the_batch(residuals, dp):
    p = residuals
    return p * (dp - jnp.sum(p * dp, 0, keepdims=True))


def softmax_without_its_sum(residuals, dp):
    return residuals * dp


# 6, cross-entropy


def cross_entropy_y_minus_p(residuals, dloss):
    p, labels = residuals
    return dloss[:, None] * (one_hot(labels, p) - p)


def cross_entropy_of_one(residuals, dloss):
    p, labels = residuals
    return p - one_hot(labels, p)


def cross_entropy_of_the_mean(residuals, dloss):
    p, labels = residuals
    return dloss[:, None] * (p - one_hot(labels, p)) / len(p)


# 7, two layers


def two_layers(dz2, hidden, residuals):
    x, W1, a, W2, _, _ = residuals
    dz1 = hidden(dz2 @ W2.T, a)
    return dz1 @ W1.T, x.T @ dz1, dz1.sum(0), a.T @ dz2, dz2.sum(0)


def network_without_the_mean(residuals, dC):
    *_, p, labels = residuals
    return two_layers(dC * (p - one_hot(labels, p)), lambda da, a: da * (1 - a**2), residuals)


def network_without_tanh_prime(residuals, dC):
    *_, p, labels = residuals
    return two_layers(dC * (p - one_hot(labels, p)) / len(p), lambda da, a: da, residuals)


def network_without_a_square(residuals, dC):
    *_, p, labels = residuals
    return two_layers(dC * (p - one_hot(labels, p)) / len(p), lambda da, a: da * (1 - a), residuals)


# 8, tied weights


def tied_decoder_alone(residuals, dy):
    _, W, h = residuals
    dz = (dy @ W) * (1 - h**2)
    return dz @ W.T, dy.T @ h


def tied_encoder_alone(residuals, dy):
    x, W, h = residuals
    dz = (dy @ W) * (1 - h**2)
    return dz @ W.T, x.T @ dz


# 9, a skip connection


def skip_forgotten(residuals, dy):
    x, W, h = residuals
    dz = dy * (1 - h**2)
    return dz @ W.T, x.T @ dz


def skip_with_w_as_it_is(residuals, dy):
    x, W, h = residuals
    dz = dy * (1 - h**2)
    return dy + dz @ W, x.T @ dz


def skip_multiplied(residuals, dy):
    x, W, h = residuals
    dz = dy * (1 - h**2)
    return dy * (dz @ W.T), x.T @ dz


# 10, layer normalisation


def norm_with_a_constant_variance(residuals, dy):
    n, r, g = residuals
    dn = dy * g[None]
    return r * (dn - jnp.mean(dn, -1, keepdims=True)), jnp.sum(dy * n, 0), jnp.sum(dy, 0)


def norm_with_a_constant_mean(residuals, dy):
    n, r, g = residuals
    dn = dy * g[None]
    return r * (dn - n * jnp.mean(dn * n, -1, keepdims=True)), jnp.sum(dy * n, 0), jnp.sum(dy, 0)


def norm_with_mean_gains(residuals, dy):
    n, r, g = residuals
    dn = dy * g[None]
    dx = r * (dn - jnp.mean(dn, -1, keepdims=True) - n * jnp.mean(dn * n, -1, keepdims=True))
    return dx, jnp.mean(dy * n, 0), jnp.mean(dy, 0)


# 11, batch normalisation


def batch_norm(residuals, dy, *, by_m=1.0, by_v=1.0):
    n, r, g = residuals
    dg, dc = jnp.sum(dy * n, 0), jnp.sum(dy, 0)
    return (g * r)[None] * (dy - by_m * dc[None] / len(n) - by_v * n * dg[None] / len(n)), dg, dc


def batch_norm_with_a_constant_variance(residuals, dy):
    return batch_norm(residuals, dy, by_v=0.0)


def batch_norm_with_constant_statistics(residuals, dy):
    return batch_norm(residuals, dy, by_m=0.0, by_v=0.0)


# 12, a convolution


def convolution(residuals, dy, *, kernel=lambda W: W, scale=1.0):
    x, W = residuals
    dx, dW = jnp.zeros_like(x), []
    for k in range(len(W)):
        seen = slice(k, k + dy.shape[1])
        dx = dx.at[:, seen].add(dy @ kernel(W)[k].T)
        dW.append(jnp.einsum("bti,bto->io", x[:, seen], dy))
    return dx, scale * jnp.stack(dW), scale * dy.sum((0, 1))


def convolution_with_a_flipped_kernel(residuals, dy):
    return convolution(residuals, dy, kernel=lambda W: W[::-1])


def convolution_by_the_mean_over_the_batch(residuals, dy):
    return convolution(residuals, dy, scale=1 / len(dy))


# 13, backpropagation through time


def through_time(residuals, dh, *, carried=1.0, back=jnp.transpose, first=1):
    h, U = residuals
    later, dz, dU = jnp.zeros_like(h[0]), [], jnp.zeros_like(U)
    for t in reversed(range(len(h))):
        dz.append((dh[t] + carried * later) * (1 - h[t] ** 2))
        if t >= first:
            dU += h[t - 1].T @ dz[-1]
        later = dz[-1] @ back(U)
    return jnp.stack(dz[::-1]), dU


def time_carries_nothing(residuals, dh):
    return through_time(residuals, dh, carried=0.0)


def time_without_a_transpose(residuals, dh):
    return through_time(residuals, dh, back=lambda U: U)


def time_of_the_last_step(residuals, dh):
    return through_time(residuals, dh, first=len(dh) - 1)


# 14, a step of an LSTM


def lstm_step(residuals, ds_new, *, through_h=1.0, slope_of_t=True, order=(0, 1, 2, 3)):
    x, s, W, U, (i, f, g, o), t = residuals
    (h, c), (dh, dc) = s, ds_new
    dc = dc + through_h * dh * o * ((1 - t**2) if slope_of_t else 1)
    gates = dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2), dh * t * o * (1 - o)
    dz = jnp.concatenate([gates[n] for n in order], -1)
    return dz @ W.T, jnp.stack([dz @ U.T, dc * f]), x.T @ dz, h.T @ dz, dz.sum(0)


def lstm_with_the_cell_through_c_alone(residuals, ds_new):
    return lstm_step(residuals, ds_new, through_h=0.0)


def lstm_without_the_slope_of_its_output(residuals, ds_new):
    return lstm_step(residuals, ds_new, slope_of_t=False)


# 15, attention


def attention(residuals, do, *, scale=True, softmax=softmax_back):
    q, k, v, p = residuals
    ds = softmax(p, do @ v.T) / (q.shape[-1] ** 0.5 if scale else 1)
    return ds @ k, ds.T @ q, p.T @ do


def attention_without_its_scale(residuals, do):
    return attention(residuals, do, scale=False)


def attention_with_a_diagonal(residuals, do):
    return attention(residuals, do, softmax=lambda p, dp: dp * p * (1 - p))


def attention_without_the_sum(residuals, do):
    return attention(residuals, do, softmax=lambda p, dp: p * dp)


TANH = "the derivative of the tanh in `jnp.tanh(x @ W1 + b1[None])` (two_layers.py"
FOUR = "it is x.shape[0] with x.shape[0] = 4 times the right one"
QUARTER = "it is 1/x.shape[0] with x.shape[0] = 4 times the right one"

Said = dict[str, tuple[str, str]]
"""The leaf, the kind of finding, and a piece of the sentence; of leaves that are not here nothing is said."""

WRONG: dict[Callable[[Any, Any], Any], tuple[int, Said]] = {
    delta_without_s_prime: (1, {"z": ("derivative", "the derivative of the sigmoid")}),
    delta_with_y_minus_a: (1, {"z": ("sign", "it has the wrong sign")}),
    delta_whatever_comes_back: (1, {"z": ("cotangent ignored", "it must be multiplied by it")}),
    bias_by_the_mean: (2, {"b": ("factor", "it is 1/u.shape[0] with u.shape[0] = 4 times the right one")}),
    bias_not_summed: (2, {"b": ("structure", "expected (3,): it is not summed over the first 1 axes")}),
    bias_of_the_last_example: (2, {"b": ("reduction", "it is only the last example's share")}),
    weights_transposed: (3, {"W": ("structure", "the cotangent has shape (3, 5); expected (5, 3)")}),
    weights_by_the_mean: (3, {"W": ("factor", QUARTER)}),
    product_the_wrong_way_round: (3, {"": ("raises", "got (5,) and (4,)")}),
    hidden_without_s_prime: (4, {"z": ("derivative", "(hidden_delta.py:32) is taken for one")}),
    hidden_s_prime_of_a: (4, {"z": ("derivative", "is taken at its output, not at its input")}),
    hidden_tanh_prime: (4, {"z": ("derivative", "is that of the tanh")}),
    softmax_diagonal: (5, {"z": ("derivative", "only the Jacobian's diagonal is used")}),
    softmax_over_the_batch: (5, {"z": ("reduction", "is summed over axes (0,)")}),
    softmax_without_its_sum: (5, {"z": ("statistic", "it takes the sum over axes (1,)")}),
    cross_entropy_y_minus_p: (6, {"z": ("sign", "it has the wrong sign")}),
    cross_entropy_of_one: (6, {"z": ("cotangent ignored", "it must be multiplied by it")}),
    cross_entropy_of_the_mean: (6, {"z": ("factor", "it is 1/z.shape[0] with z.shape[0] = 4")}),
    network_without_the_mean: (7, dict.fromkeys(("x", "W1", "b1", "W2", "b2"), ("factor", FOUR))),
    network_without_tanh_prime: (7, dict.fromkeys(("x", "W1", "b1"), ("derivative", TANH))),
    network_without_a_square: (7, dict.fromkeys(("x", "W1", "b1"), ("derivative", "is taken for 1 - y"))),
    tied_decoder_alone: (8, {"W": ("path", "use 1 of 2 of the argument in the reference is not counted")}),
    tied_encoder_alone: (8, {"W": ("path", "only use 1 of 2 of the argument in the reference is counted")}),
    skip_forgotten: (9, {"x": ("added term", "1 times the cotangent of the output is missing")}),
    skip_with_w_as_it_is: (9, {"x": ("derivative", "in `x @ W` (skip_connection.py")}),
    skip_multiplied: (9, {"x": ("not linear", "for -1 times the cotangent")}),
    norm_with_a_constant_variance: (10, {"x": ("statistic", "`jnp.mean(centred**2")}),
    norm_with_a_constant_mean: (10, {"x": ("statistic", "`jnp.mean(x,")}),
    norm_with_mean_gains: (10, dict.fromkeys(("g", "c"), ("factor", QUARTER))),
    batch_norm_with_a_constant_variance: (11, {"x": ("statistic", "in `jnp.mean(centred**2, axis=0)`")}),
    batch_norm_with_constant_statistics: (
        11,
        {"x": ("statistic", "in `jnp.mean(x, axis=0, keepdims=True)`")},
    ),
    convolution_with_a_flipped_kernel: (12, {"x": ("input", "the right one for W reversed along 0")}),
    convolution_by_the_mean_over_the_batch: (12, dict.fromkeys(("W", "c"), ("factor", QUARTER))),
    time_carries_nothing: (
        13,
        {
            "x": ("derivative", "only the Jacobian's diagonal"),
            "U": ("derivative", "by its input 1 is left out"),
        },
    ),
    time_without_a_transpose: (
        13,
        dict.fromkeys(("x", "U"), ("derivative", "by its input 1 is not transposed")),
    ),
    time_of_the_last_step: (13, {"U": ("path", "use 2 of 3 of the argument")}),
    lstm_with_the_cell_through_c_alone: (
        14,
        dict.fromkeys(("x", "s", "W", "U", "b"), ("derivative", "the tanh in `jnp.tanh(c_new)`")),
    ),
    lstm_without_the_slope_of_its_output: (
        14,
        dict.fromkeys(("x", "s", "W", "U", "b"), ("derivative", "(lstm_step.py:55) is taken for one")),
    ),
    attention_without_its_scale: (
        15,
        dict.fromkeys(("q", "k"), ("factor", "it is sqrt q.shape[1] with q.shape[1] = 4")),
    ),
    attention_with_a_diagonal: (15, dict.fromkeys(("q", "k"), ("reduction", "is not summed at all"))),
    attention_without_the_sum: (
        15,
        dict.fromkeys(("q", "k"), ("statistic", "for a constant in `jax.nn.softmax(")),
    ),
}
"""The number of the exercise, and what is said."""
