"""Mistakes in what is entry by entry or row by row: activations, gates, dropout, running sums, norms."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .form import Original, Planted
from .planting import FEW_DIGITS, at_right, by_another_cotangent, from_right, instead, narrow, shapes, wide

KEEP, EPSILON = 0.75, 1e-6


def _silu_fwd(x):
    return (wide(x) * jax.nn.sigmoid(wide(x))).astype(x.dtype), x


def _silu_slope(x):
    s = jax.nn.sigmoid(x)
    return s * (1 + x * (1 - s))


def _silu_bwd(x, dy):
    return narrow(dy.dtype, wide(dy) * _silu_slope(wide(x)))


def _gelu_fwd(x):
    z = wide(x)
    return (z * jax.lax.erfc(-z * 0.5**0.5) / 2).astype(x.dtype), x


def _gelu_bwd(x, dy):
    z = wide(x)
    density = jnp.exp(-(z**2) / 2) / (2 * jnp.pi) ** 0.5
    return narrow(dy.dtype, wide(dy) * (jax.lax.erfc(-z * 0.5**0.5) / 2 + z * density))


def _gated_fwd(x, w, v):
    gate, value = wide(x) @ wide(w), wide(x) @ wide(v)
    return (gate * jax.nn.sigmoid(gate) * value).astype(x.dtype), (x, w, v, gate, value)


def _gated_shares(res, dy, slope=_silu_slope):
    """The cotangents of the gate before its SiLU, and of what it gates."""
    *_, gate, value = res
    return wide(dy) * value * slope(gate), wide(dy) * gate * jax.nn.sigmoid(gate)


def _gated_bwd(res, dy, slope=_silu_slope):
    x, w, v = map(wide, res[:3])
    d_gate, d_value = _gated_shares(res, dy, slope)
    return narrow(dy.dtype, d_gate @ w.T + d_value @ v.T, x.T @ d_gate, x.T @ d_value)


def _masked_fwd(x, mask):
    return jnp.where(mask, wide(x) / KEEP, 0).astype(x.dtype), mask


def _masked_bwd(mask, dy):
    return jnp.where(mask, wide(dy) / KEEP, 0).astype(dy.dtype), None


def _kept(key, shape):
    """Which entries stay; whole numbers, so that the draw does not hang on a dtype."""
    return jax.random.bits(key, shape, jnp.uint32) < jnp.uint32(int(KEEP * 2**32))


def _drawn_fwd(x, key):
    return _masked_fwd(x, _kept(key, x.shape))


def _drawn(x, key):
    return x * _kept(key, x.shape).astype(x.dtype) / KEEP


def _running_fwd(x):
    return jnp.cumsum(wide(x), 1).astype(x.dtype), None


def _running_bwd(_, dy):
    return narrow(dy.dtype, jnp.cumsum(wide(dy)[:, ::-1], 1)[:, ::-1])


def _unit_fwd(x):
    z = wide(x)
    over = 1 / jnp.sqrt((z * z).sum(1, keepdims=True) + EPSILON)
    return (z * over).astype(x.dtype), (x, over)


def _unit_bwd(res, dy):
    x, over = res
    y = wide(x) * over
    return narrow(dy.dtype, over * (wide(dy) - y * (wide(dy) * y).sum(1, keepdims=True)))


def _two_scales_fwd(params, x):
    large, small = wide(params["large"]), wide(params["small"])
    return (100 * wide(x) * large[None, :] + 1e-4 * jnp.sin(small)[None, :]).astype(x.dtype), (params, x)


def _two_scales_bwd(res, dy):
    params, x = res
    d_large = 100 * (wide(x) * wide(dy)).sum(0)
    d_small = 1e-4 * jnp.cos(wide(params["small"])) * wide(dy).sum(0)
    dx = 100 * wide(dy) * wide(params["large"])[None, :]
    d_large, d_small, dx = narrow(dy.dtype, d_large, d_small, dx)
    return {"large": d_large, "small": d_small}, dx


def _two_scales(params, x):
    return 100 * x * params["large"][None, :] + 1e-4 * jnp.sin(params["small"])[None, :]


def _masked_args(rng, realistic):
    shape = (64, 128) if realistic else (5, 7)
    return rng.normal(size=shape), rng.random(shape) < KEEP


def _drawn_args(rng, realistic):
    x, _ = _masked_args(rng, realistic)
    return x, jax.random.key(int(rng.integers(1000)))


def _two_scales_args(rng, realistic):
    count, features = (32, 128) if realistic else (5, 3)
    leaves = {"large": rng.normal(size=features), "small": rng.normal(size=features)}
    return leaves, rng.normal(size=(count, features))


_one = shapes(((5, 7),), ((64, 128),))

ORIGINALS = {
    "SiLU": Original(_silu_fwd, _silu_bwd, jax.nn.silu, _one),
    "GELU": Original(_gelu_fwd, _gelu_bwd, lambda x: jax.nn.gelu(x, approximate=False), _one),
    "gated unit": Original(
        _gated_fwd,
        _gated_bwd,
        lambda x, w, v: jax.nn.silu(x @ w) * (x @ v),
        shapes(((5, 3), (3, 7), (3, 7)), ((32, 128), (128, 64), (128, 64))),
    ),
    "dropout by a mask": Original(
        _masked_fwd, _masked_bwd, lambda x, mask: x * mask.astype(x.dtype) / KEEP, _masked_args
    ),
    "dropout by a key": Original(_drawn_fwd, _masked_bwd, _drawn, _drawn_args),
    "cumulative sum": Original(_running_fwd, _running_bwd, lambda x: jnp.cumsum(x, 1), _one),
    "rows of unit length": Original(
        _unit_fwd, _unit_bwd, lambda x: x * jax.lax.rsqrt(jnp.sum(x * x, 1, keepdims=True) + EPSILON), _one
    ),
    "two scales": Original(_two_scales_fwd, _two_scales_bwd, _two_scales, _two_scales_args),
}

_instead = functools.partial(instead, ORIGINALS)
_from = functools.partial(from_right, ORIGINALS)
_at = functools.partial(at_right, ORIGINALS)
_by = functools.partial(by_another_cotangent, ORIGINALS)


def _slope(original: str, slope: Callable[[Any], Any], *kinds: str, none_in: tuple[str, ...] = ()) -> Planted:
    """An activation with another derivative."""
    return _instead(
        original, lambda x, dy: narrow(dy.dtype, wide(dy) * slope(wide(x))), *kinds, none_in=none_in
    )


def _silu_slope_overflowing(x):
    s = jnp.exp(x) / (1 + jnp.exp(x))
    return s * (1 + x * (1 - s))


def _gelu_slope_by_tanh(x):
    c = (2 / jnp.pi) ** 0.5
    t = jnp.tanh(c * (x + 0.044715 * x**3))
    return (1 + t) / 2 + x / 2 * (1 - t**2) * c * (1 + 3 * 0.044715 * x**2)


def _gelu_probability(x):
    return jax.lax.erfc(-x * 0.5**0.5) / 2


def _kept_anew(mask, dy, _):
    return jnp.where(_kept(jax.random.key(7), mask.shape), wide(dy) / KEEP, 0).astype(dy.dtype)


def _unit_over_all(res, dy, _):
    y = wide(res[0]) * res[1]
    return (res[1] * (wide(dy) - y * (wide(dy) * y).sum())).astype(dy.dtype)


def _unit_without_epsilon(res, dy, _):
    x = res[0]
    z = wide(x)
    over = 1 / jnp.sqrt((z * z).sum(1, keepdims=True))
    return _unit_bwd((x, over), dy)[0]


def _small(change: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda dparams: dparams | {"small": change(dparams["small"])}


def _small_by_its_sine(res, dy, dparams):
    d_small = 1e-4 * jnp.sin(wide(res[0]["small"])) * wide(dy).sum(0)
    return dparams | {"small": d_small.astype(dy.dtype)}


_MASK, _KEY, _SUM, _UNIT = "dropout by a mask", "dropout by a key", "cumulative sum", "rows of unit length"

MISTAKES = {
    "product rule forgotten": _slope("SiLU", jax.nn.sigmoid, "path"),
    "slope overflows": _slope("SiLU", _silu_slope_overflowing, "not finite"),
    "zero where saturated": _slope("SiLU", lambda x: jnp.where(x > 20, 0, _silu_slope(x)), "conditional"),
    "one where saturated below": _slope(
        "SiLU", lambda x: jnp.where(x < -20, 1, _silu_slope(x)), "conditional"
    ),
    "zero below zero": _slope("SiLU", lambda x: jnp.where(x < 0, 0, _silu_slope(x)), "conditional"),
    "a percent off beyond one": _slope(
        "SiLU", lambda x: jnp.where(x > 1, 1.01, 1) * _silu_slope(x), "conditional"
    ),
    "one at zero": _slope("SiLU", lambda x: jnp.where(x == 0, 1, _silu_slope(x)), "conditional"),
    "slope at the output": _instead("SiLU", lambda x, dy: _silu_bwd(_silu_fwd(x)[0], dy), "derivative"),
    "slope in float16": _slope(
        "SiLU",
        lambda x: _silu_slope(x.astype(jnp.float16)).astype(x.dtype),
        "precision",
        "not finite",
        none_in=FEW_DIGITS,
    ),
    "slope of the approximation by tanh": _slope("GELU", _gelu_slope_by_tanh),
    "density forgotten": _slope("GELU", _gelu_probability, "path"),
    "off by 1e-4 in one column": _at(0, "GELU", lambda c: c.at[:, 2].multiply(1.0001), "conditional"),
    "output's cotangent rounded": _by("GELU", lambda d: jnp.round(64 * d) / 64, "not linear", "precision"),
    "gate and value exchanged": _instead(
        "gated unit", lambda r, d: tuple(_gated_bwd(r, d)[i] for i in (0, 2, 1)), "exchanged"
    ),
    "gate by its sigmoid": _instead(
        "gated unit", lambda r, d: _gated_bwd(r, d, jax.nn.sigmoid), "derivative"
    ),
    "input through the value only": _from(
        0,
        "gated unit",
        lambda r, d, c: (_gated_shares(r, d)[1] @ wide(r[2]).T).astype(d.dtype),
        "path",
    ),
    "gate without its cotangent": _from(
        1, "gated unit", lambda r, d, c: _gated_bwd(r, jnp.ones_like(d))[1], "cotangent ignored"
    ),
    "kept not divided": _at(0, _MASK, lambda c: c * KEEP, "factor"),
    "mask forgotten": _from(0, _MASK, lambda r, d, c: d / KEEP, "conditional"),
    "mask turned round": _from(0, _MASK, lambda r, d, c: _masked_bwd(~r, d)[0], "input"),
    "cotangent for the mask": _from(1, _MASK, lambda r, d, c: d, "structure"),
    "another draw": _from(0, _KEY, _kept_anew),
    "divided twice": _at(0, _KEY, lambda c: c / KEEP, "factor"),
    "summed forwards": _instead(_SUM, lambda r, d: narrow(d.dtype, jnp.cumsum(wide(d), 1)), "derivative"),
    "not turned back": _at(0, _SUM, lambda c: c[:, ::-1], "flipped"),
    "own step left out": _from(0, _SUM, lambda r, d, c: c - d, "shifted", "added term"),
    "summed over the rows": _instead(
        _SUM, lambda r, d: narrow(d.dtype, jnp.cumsum(wide(d)[::-1], 0)[::-1]), "reduction", "derivative"
    ),
    "not summed": _from(0, _SUM, lambda r, d, c: d, "derivative"),
    "last step wrong": _at(0, _SUM, lambda c: c.at[:, -1].multiply(2), "conditional"),
    "length constant": _from(0, _UNIT, lambda r, d, c: (wide(d) * r[1]).astype(d.dtype), "statistic"),
    "length squared": _from(0, _UNIT, lambda r, d, c: (wide(c) * r[1]).astype(c.dtype), "factor"),
    "projected on all rows": _from(0, _UNIT, _unit_over_all, "reduction"),
    "epsilon forgotten": _from(0, _UNIT, _unit_without_epsilon, "constant"),
    "last row of an odd batch": _at(
        0, _UNIT, lambda c: c.at[len(c) // 2 * 2 :].multiply(0.5), "batch", "conditional"
    ),
    "small leaf negated": _at(0, "two scales", _small(jnp.negative), "sign"),
    "small leaf zero": _at(0, "two scales", _small(jnp.zeros_like), "zero"),
    "small leaf a percent off": _at(0, "two scales", _small(lambda c: 1.01 * c), "factor"),
    "small leaf missing": _at(0, "two scales", lambda c: {"large": c["large"]}, "structure"),
    "small leaf None": _at(0, "two scales", _small(lambda c: None), "structure"),
    "small leaf by its sine": _from(0, "two scales", _small_by_its_sine, "derivative"),
}
