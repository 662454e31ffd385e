r"""Elementwise activations a = f(z), each a pair called `activations.NAME.fwd` and `.bwd`.

The chain rule is dz = f'(z) da for all of them. What is saved is the cheapest thing f' can be had
from: the output where it can, else a mask of one byte per element, else z.

    member          a = f(z)                         f'(z)                          saved
    identity        z                                1                              -         (1)
    sigmoid         s(z) = 1/(1 + e^-z)              a (1 - a)                      a         (2)
    tanh            tanh z                           (1 + a) (1 - a)                a         (3)
    relu            max(z, 0)                        [a > 0]                        a         (4)
    leaky_relu      z if z >= 0 else k z             1 if z >= 0 else k             z >= 0    (5)
    elu             z if z > 0 else k (e^z - 1)      1 if z > 0 else k e^z          z         (6)
    softplus        log(1 + e^z)                     1 - e^-a                       a         (7)
    silu            z s(z)                           s(z) + z s(z) s(-z)            z         (8)
    gelu            z P(z)                           P(z) + z p(z)                  z         (9)
    gelu_tanh       z s(v(z)) = z (1 + tanh(v/2))/2  s(v) + z v' s(v) s(-v)         z        (10)
    relu_squared    max(z, 0)^2                      2 max(z, 0)                    max(z, 0) (11)
    hard_tanh       min(max(z, -1), 1)               [-1 <= z <= 1]                 the mask (12)

P and p are the normal distribution and density; v(z) = 2 sqrt(2/pi) (z + 0.044715 z^3); k is the static
option `slope` of leaky_relu and `alpha` of elu. At a kink the value is JAX's: relu'(0) = 0,
leaky_relu'(0) = 1, elu'(0) = k, hard_tanh'(-1) = hard_tanh'(1) = 1. At -inf and inf the values are the
limits: z s(z) = 0 at -inf, and its slope 1 at inf, where the formulas have 0 times infinity.

A formula of several operations is a function of its own under `jax.jit`, so that it is one loop over z where
the caller has no `jit` either; by themselves, each operation reads and writes an array as large as z. What is
checked and what is saved stand outside: errors have no frames of the compiler's, and nothing is copied.

Ramachandran et al. 2017, arXiv:1710.05941 (silu); Hendrycks & Gimpel 2016, arXiv:1606.08415 (gelu);
Clevert et al. 2015, arXiv:1511.07289 (elu); So et al. 2021, arXiv:2109.08668 (relu_squared).
"""

from collections.abc import Callable
from functools import partial
from math import isfinite, pi, sqrt
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from manual_bp import checks
from manual_bp.exponential import decay
from manual_bp.normal import tail_and_density
from manual_bp.precision import wide


class _Pair(NamedTuple):
    fwd: Callable[..., tuple[Array, Any]]
    bwd: Callable[..., Array]


class Activation(_Pair):
    """A pair: `fwd(z, **static) -> (a, residuals)` and `bwd(residuals, da, **static) -> dz`.

    Unlike a plain NamedTuple, each has a docstring of its own.
    """

    def __repr__(self) -> str:
        """The two functions' names, without their places in memory."""
        return f"Activation({self.fwd.__name__}, {self.bwd.__name__})"


Z = Float[Array, "*B"]
Form = Float[Array, "*B 0"]
"""An array without entries that has the shape and dtype of z: what is saved where no values are needed."""

FAR = 2000.0
"""Where s, P and their slopes are 0 or 1 in every dtype: z is taken for this if it is further out, as 0 times
infinity is no number."""


class Masked(NamedTuple):
    """A mask of one byte per element, and the form of z."""

    mask: Bool[Array, "*B"]
    form: Form


def _form(z: Z) -> Form:
    return jnp.zeros((*z.shape, 0), z.dtype)


def _check_cotangent(op: str, da: Z, form: Form) -> None:
    """Raise unless `da` has the shape and dtype that `form` has kept."""
    checks.cotangent(op, "da", da, jax.ShapeDtypeStruct(form.shape[:-1], form.dtype))


def _recomputed(z: Z) -> Z:
    """z, with what is computed from it hidden from XLA's common subexpressions.

    Otherwise XLA keeps a sigmoid or an erfc of the forward pass, an array as large as z, for the backward
    pass, which is slower than to compute it again.
    """
    return jax.lax.optimization_barrier(z)


def _identity_fwd(z: Z) -> tuple[Z, Form]:
    """The identity, which saves the form of z alone."""
    checks.floating("identity", z=z)
    return z, _form(z)


def _identity_bwd(form: Form, da: Z) -> Z:
    """The cotangent of z, which is that of a."""
    _check_cotangent("identity", da, form)
    return da  # (1)


identity = Activation(_identity_fwd, _identity_bwd)


def _sigmoid_fwd(z: Z) -> tuple[Z, Z]:
    """The logistic function; saves a."""
    checks.floating("sigmoid", z=z)
    a = _sigmoid(z)
    return a, a


def _sigmoid_bwd(a: Z, da: Z) -> Z:
    """The cotangent of z from the output."""
    checks.cotangent("sigmoid", "da", da, a)
    return _sigmoid_dz(a, da)


@jax.jit
def _sigmoid(z: Z) -> Z:
    x = wide(z)
    e = decay(jnp.abs(x))
    return (jnp.where(x < 0, e, 1) / (1 + e)).astype(z.dtype)


@jax.jit
def _sigmoid_dz(a: Z, da: Z) -> Z:
    return da * a * (1 - a)  # (2)


sigmoid = Activation(_sigmoid_fwd, _sigmoid_bwd)


def _tanh_fwd(z: Z) -> tuple[Z, Z]:
    """The hyperbolic tangent; saves a."""
    checks.floating("tanh", z=z)
    a = jnp.tanh(z)
    return a, a


def _tanh_bwd(a: Z, da: Z) -> Z:
    """The cotangent of z from the output, as a product: 1 - a^2 would lose the digits of a tail."""
    checks.cotangent("tanh", "da", da, a)
    return _tanh_dz(a, da)


@jax.jit
def _tanh_dz(a: Z, da: Z) -> Z:
    return da * (1 + a) * (1 - a)  # (3)


tanh = Activation(_tanh_fwd, _tanh_bwd)


def _relu_fwd(z: Z) -> tuple[Z, Z]:
    """The positive part; saves a, which the next layer holds anyway."""
    checks.floating("relu", z=z)
    a = jnp.maximum(z, 0)
    return a, a


def _relu_bwd(a: Z, da: Z) -> Z:
    """The cotangent of z from the output."""
    checks.cotangent("relu", "da", da, a)
    return jnp.where(a > 0, da, 0)  # (4)


relu = Activation(_relu_fwd, _relu_bwd)


def _leaky_relu_fwd(z: Z, *, slope: float = 0.01) -> tuple[Z, Masked]:
    """A line with another `slope` below zero; saves the mask z >= 0, as the sign of a may underflow."""
    checks.floating("leaky_relu", z=z)
    checks.number("leaky_relu", "slope", slope, isfinite, "a finite number")
    a, mask = _leaky_relu(z, slope=float(slope))
    return a, Masked(mask, _form(z))


def _leaky_relu_bwd(res: Masked, da: Z, *, slope: float = 0.01) -> Z:
    """The cotangent of z from the mask."""
    _check_cotangent("leaky_relu", da, res.form)
    checks.number("leaky_relu", "slope", slope, isfinite, "a finite number")
    return _leaky_relu_dz(res.mask, da, slope=float(slope))


@partial(jax.jit, static_argnames="slope")
def _leaky_relu(z: Z, *, slope: float) -> tuple[Z, Bool[Array, "*B"]]:
    mask = z >= 0
    return jnp.where(mask, z, slope * z), mask


@partial(jax.jit, static_argnames="slope")
def _leaky_relu_dz(mask: Bool[Array, "*B"], da: Z, *, slope: float) -> Z:
    return jnp.where(mask, da, slope * da)  # (5)


leaky_relu = Activation(_leaky_relu_fwd, _leaky_relu_bwd)


def _elu_fwd(z: Z, *, alpha: float = 1.0) -> tuple[Z, Z]:
    """An exponential below zero that ends at -`alpha`; saves z, as a + alpha has no digits near there."""
    checks.floating("elu", z=z)
    checks.number("elu", "alpha", alpha, isfinite, "a finite number")
    return _elu(z, alpha=float(alpha)), z


def _elu_bwd(z: Z, da: Z, *, alpha: float = 1.0) -> Z:
    """The cotangent of z."""
    checks.cotangent("elu", "da", da, z)
    checks.number("elu", "alpha", alpha, isfinite, "a finite number")
    return _elu_dz(z, da, alpha=float(alpha))


@partial(jax.jit, static_argnames="alpha")
def _elu(z: Z, *, alpha: float) -> Z:
    return jnp.where(z > 0, z, alpha * jnp.expm1(jnp.minimum(z, 0)))


@partial(jax.jit, static_argnames="alpha")
def _elu_dz(z: Z, da: Z, *, alpha: float) -> Z:
    return jnp.where(z > 0, da, alpha * jnp.exp(jnp.minimum(z, 0)) * da)  # (6)


elu = Activation(_elu_fwd, _elu_bwd)


def _softplus_fwd(z: Z) -> tuple[Z, Z]:
    """A smooth positive part; saves a."""
    checks.floating("softplus", z=z)
    a = _softplus(z)
    return a, a


def _softplus_bwd(a: Z, da: Z) -> Z:
    """The cotangent of z: s(z) from the output, to full precision in both tails."""
    checks.cotangent("softplus", "da", da, a)
    return _softplus_dz(a, da)


@jax.jit
def _softplus(z: Z) -> Z:
    x = wide(z)
    return (jnp.maximum(x, 0) + jnp.log1p(decay(jnp.abs(x)))).astype(z.dtype)


@jax.jit
def _softplus_dz(a: Z, da: Z) -> Z:
    return da * -jnp.expm1(-a)  # (7)


softplus = Activation(_softplus_fwd, _softplus_bwd)


def _gated(x: Z, v: Z) -> Z:
    """x s(v), with all digits in both tails of the sigmoid."""
    e = decay(jnp.abs(v))
    return x * jnp.where(v < 0, e, 1) / (1 + e)


def _gated_slope(x: Z, v: Z, dv: Z | float) -> Z:
    """s(v) + x v' s(v) s(-v); for e = e^-|v| and r = 1/(1 + e), s(v) is r or e r, and s(v) s(-v) is e r^2."""
    e = decay(jnp.abs(v))
    r = 1 / (1 + e)
    return r * (jnp.where(v < 0, e, 1) + x * dv * e * r)


def _silu_fwd(z: Z) -> tuple[Z, Z]:
    """The sigmoid-weighted identity; saves z."""
    checks.floating("silu", z=z)
    return _silu(z), z


def _silu_bwd(z: Z, da: Z) -> Z:
    """The cotangent of z, its sigmoid computed anew."""
    checks.cotangent("silu", "da", da, z)
    return _silu_dz(z, da)


@jax.jit
def _silu(z: Z) -> Z:
    x = jnp.maximum(wide(z), -FAR)
    return _gated(x, x).astype(z.dtype)


@jax.jit
def _silu_dz(z: Z, da: Z) -> Z:
    x = jnp.clip(wide(_recomputed(z)), -FAR, FAR)
    return (wide(da) * _gated_slope(x, x, 1.0)).astype(z.dtype)  # (8)


silu = Activation(_silu_fwd, _silu_bwd)


def _gelu_fwd(z: Z) -> tuple[Z, Z]:
    """The normal-weighted identity; for z < 0 the distribution is its tail T(|z|); saves z."""
    checks.floating("gelu", z=z)
    return _gelu(z), z


def _gelu_bwd(z: Z, da: Z) -> Z:
    """The cotangent of z; for z < 0 the slope is T(|z|) - |z| p(z), which keeps the digits of the tail."""
    checks.cotangent("gelu", "da", da, z)
    return _gelu_dz(z, da)


@jax.jit
def _gelu(z: Z) -> Z:
    x = jnp.maximum(wide(z), -FAR)
    T, _ = tail_and_density(jnp.abs(x))
    return (x * jnp.where(x < 0, T, 1 - T)).astype(z.dtype)


@jax.jit
def _gelu_dz(z: Z, da: Z) -> Z:
    x = jnp.clip(wide(_recomputed(z)), -FAR, FAR)
    T, p = tail_and_density(jnp.abs(x))
    below = T - jnp.abs(x) * p
    return (wide(da) * jnp.where(x < 0, below, 1 - below)).astype(z.dtype)  # (9)


gelu = Activation(_gelu_fwd, _gelu_bwd)


def _gelu_tanh_fwd(z: Z) -> tuple[Z, Z]:
    """The approximation of gelu by a tanh, as a sigmoid: 1 + tanh has no digits in the tail; saves z."""
    checks.floating("gelu_tanh", z=z)
    return _gelu_tanh(z), z


def _gelu_tanh_bwd(z: Z, da: Z) -> Z:
    """The cotangent of z, its sigmoid computed anew."""
    checks.cotangent("gelu_tanh", "da", da, z)
    return _gelu_tanh_dz(z, da)


@jax.jit
def _gelu_tanh(z: Z) -> Z:
    x = jnp.maximum(wide(z), -FAR)
    return _gated(x, _gelu_tanh_inner(x)).astype(z.dtype)


@jax.jit
def _gelu_tanh_dz(z: Z, da: Z) -> Z:
    x = jnp.clip(wide(_recomputed(z)), -FAR, FAR)
    dv = 2 * sqrt(2 / pi) * (1 + 3 * 0.044715 * x * x)
    return (wide(da) * _gated_slope(x, _gelu_tanh_inner(x), dv)).astype(z.dtype)  # (10)


def _gelu_tanh_inner(x: Z) -> Z:
    """The function v."""
    return 2 * sqrt(2 / pi) * (x + 0.044715 * x * x * x)


gelu_tanh = Activation(_gelu_tanh_fwd, _gelu_tanh_bwd)


def _relu_squared_fwd(z: Z) -> tuple[Z, Z]:
    """The square of the positive part; saves max(z, 0), as the square may overflow."""
    checks.floating("relu_squared", z=z)
    r = jnp.maximum(z, 0)
    return r * r, r


def _relu_squared_bwd(r: Z, da: Z) -> Z:
    """The cotangent of z."""
    checks.cotangent("relu_squared", "da", da, r)
    return 2 * r * da  # (11)


relu_squared = Activation(_relu_squared_fwd, _relu_squared_bwd)


def _hard_tanh_fwd(z: Z) -> tuple[Z, Masked]:
    """The identity between -1 and 1, constant outside; saves the mask of the inside."""
    checks.floating("hard_tanh", z=z)
    a, mask = _hard_tanh(z)
    return a, Masked(mask, _form(z))


def _hard_tanh_bwd(res: Masked, da: Z) -> Z:
    """The cotangent of z from the mask."""
    _check_cotangent("hard_tanh", da, res.form)
    return jnp.where(res.mask, da, 0)  # (12)


@jax.jit
def _hard_tanh(z: Z) -> tuple[Z, Bool[Array, "*B"]]:
    return jnp.clip(z, -1, 1), (z >= -1) & (z <= 1)


hard_tanh = Activation(_hard_tanh_fwd, _hard_tanh_bwd)

MEMBERS = {name: pair for name, pair in globals().items() if isinstance(pair, Activation)}


def _describe(table: str) -> None:
    """Give each member its row of the table above as a docstring, for `help`."""
    lines = table.splitlines()
    header = next(line for line in lines if line.split()[:1] == ["member"])
    starts = [header.index(column) for column in ("a =", "f'(z)", "saved")]
    for line in lines:
        name, _, _ = line.strip().partition(" ")
        if name in MEMBERS:
            a, slope, saved = (line[i:j].strip() for i, j in zip(starts, [*starts[1:], None], strict=True))
            MEMBERS[name].__doc__ = f"""{MEMBERS[name].fwd.__doc__}

    a = f(z) = {a}
    dz = f'(z) da,    f'(z) = {slope}
    saved: {saved.rpartition("(")[0].strip()}

The letters, and what holds at kinks and infinities, are in help(manual_bp.ops.activations)."""


if __doc__:  # there is none under python -OO
    _describe(__doc__)
