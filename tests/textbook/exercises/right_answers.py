"""Right answers by other ways than the solutions': the verifier must not accuse them."""

import jax
import jax.numpy as jnp


def delta_multiplied_out(residuals, dE):
    a, y = residuals
    return dE * (a - y) * (a - a * a)


def hidden_multiplied_out(residuals, du):
    a, W = residuals
    return (du @ W.T) * (a - a**2), a.T @ du


def jacobians(p):
    return jax.vmap(lambda row: jnp.diag(row) - jnp.outer(row, row))(p)


def softmax_by_its_jacobian(p, dp):
    return jnp.einsum("bw,bwv->bv", dp, jacobians(p))


def softmax_in_loops(p, dp):
    B, V = p.shape

    def entry(b, v):
        return sum((dp[b, w] * p[b, w] * (float(w == v) - p[b, v]) for w in range(V)), jnp.zeros((), p.dtype))

    return jnp.stack([jnp.stack([entry(b, v) for v in range(V)]) for b in range(B)])


def cross_entropy_by_index(residuals, dloss):
    p, labels = residuals
    return (p * dloss[:, None]).at[jnp.arange(len(p)), labels].add(-dloss)


def network_divided_last(residuals, dC):
    x, W1, a, W2, p, labels = residuals
    dz2 = p.at[jnp.arange(len(x)), labels].add(-1)
    dz1 = (dz2 @ W2.T) * (1 - a) * (1 + a)
    sums = dz1 @ W1.T, x.T @ dz1, dz1.sum(0), a.T @ dz2, dz2.sum(0)
    return tuple(dC / len(x) * each for each in sums)


def tied_the_other_way_round(residuals, dy):
    x, W, h = residuals
    dh = dy @ W
    dz = dh - dh * h**2
    return dz @ W.T, x.T @ dz + (h.T @ dy).T


def norm_by_sums(residuals, dy):
    n, r, g = residuals
    F = n.shape[-1]
    dn = dy * g[None]
    through = F * dn - dn.sum(-1, keepdims=True) - n * (dn * n).sum(-1, keepdims=True)
    return r / F * through, (dy * n).sum(0), dy.sum(0)


def norm_by_variance_and_mean(residuals, dy):
    n, r, g = residuals
    F = n.shape[-1]
    dn, centred = dy * g[None], n / r
    d_variance = (dn * centred).sum(-1, keepdims=True) * -0.5 * r**3
    d_mean = -r * dn.sum(-1, keepdims=True) - 2 * d_variance * centred.mean(-1, keepdims=True)
    return dn * r + 2 * d_variance * centred / F + d_mean / F, (dy * n).sum(0), dy.sum(0)


def batch_norm_by_sums(residuals, dy):
    n, r, g = residuals
    dn = dy * g[None]
    through = len(n) * dn - dn.sum(0, keepdims=True) - n * (dn * n).sum(0, keepdims=True)
    return r[None] / len(n) * through, (dy * n).sum(0), dy.sum(0)


def convolution_by_windows(residuals, dy):
    x, W = residuals
    at = jnp.arange(dy.shape[1])[:, None] + jnp.arange(len(W))[None]
    dx = jnp.zeros_like(x).at[:, at].add(jnp.einsum("bto,kio->btki", dy, W))
    return dx, jnp.einsum("btki,bto->kio", x[:, at], dy), jnp.einsum("bto->o", dy)


def time_by_scan(residuals, dh):
    h, U = residuals

    def step(later, here):
        h_t, dh_t = here
        dz_t = (dh_t + later) * (1 - h_t * h_t)
        return dz_t @ U.T, dz_t

    _, dz = jax.lax.scan(step, jnp.zeros_like(h[0]), (h, dh), reverse=True)
    before = jnp.concatenate([jnp.zeros_like(h[:1]), h[:-1]])
    return dz, jnp.einsum("tbi,tbj->ij", before, dz)


def lstm_in_one_matrix(residuals, ds_new):
    x, s, W, U, (i, f, g, o), t = residuals
    dh, dc = ds_new
    dc = dc + dh * o * (1 - t) * (1 + t)
    dz = jnp.concatenate(
        [dc * g * (i - i * i), dc * s[1] * (f - f * f), dc * i - dc * i * g * g, dh * t * (o - o * o)], -1
    )
    back = dz @ jnp.concatenate([W, U]).T
    weights = jnp.concatenate([x, s[0]], -1).T @ dz
    I = x.shape[-1]
    return back[:, :I], jnp.stack([back[:, I:], dc * f]), weights[:I], weights[I:], dz.sum(0)


def attention_from_its_output(residuals, do):
    q, k, v, p = residuals
    ds = p * (do @ v.T - jnp.sum(do * (p @ v), -1, keepdims=True)) / q.shape[-1] ** 0.5
    return ds @ k, ds.T @ q, p.T @ do


def attention_by_jacobians(residuals, do):
    q, k, v, p = residuals
    ds = jnp.einsum("tw,twv->tv", do @ v.T, jacobians(p))
    return ds @ k / q.shape[-1] ** 0.5, ds.T @ q / q.shape[-1] ** 0.5, p.T @ do


RIGHT = {
    delta_multiplied_out: 1,
    hidden_multiplied_out: 4,
    softmax_by_its_jacobian: 5,
    softmax_in_loops: 5,
    cross_entropy_by_index: 6,
    network_divided_last: 7,
    tied_the_other_way_round: 8,
    norm_by_sums: 10,
    norm_by_variance_and_mean: 10,
    batch_norm_by_sums: 11,
    convolution_by_windows: 12,
    time_by_scan: 13,
    lstm_in_one_matrix: 14,
    attention_from_its_output: 15,
    attention_by_jacobians: 15,
}
"""The number of the exercise."""
