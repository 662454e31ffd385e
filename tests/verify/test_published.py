"""Functions with derivatives of their own in published packages: what is said of each, and why.

Each is held against a plain function written from its definition. What is not installed is skipped.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_ref import verify

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 5))
V = RNG.normal(size=6)
POSITIVE = RNG.uniform(0.5, 2.0, size=(4, 3))
SHARE = RNG.uniform(0.1, 0.9, size=(4, 3))
FACTOR = RNG.normal(size=(4, 4))
SPD = FACTOR @ FACTOR.T + 4 * np.eye(4)
START = RNG.bit_generator.state
NODES, WEIGHTS = np.polynomial.legendre.leggauss(60)


class Row(NamedTuple):
    """A function with a rule of its own, one example of its arguments, and the plain function.

    `wrong` has the kind of finding for each leaf that one is made of, and `why` the reason: in what the
    library is wrong, or what it means by it. Nothing is expected where it is empty.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    reference: Callable[..., Any]
    options: Mapping[str, Any] = {}
    wrong: Mapping[str, str] = {}
    why: str = ""
    check: Callable[..., Any] = verify.check_function


def integral(f, low, high):
    """By the rule of Gauss, to all digits where f is smooth."""
    middle, half = (high + low) / 2, (high - low) / 2
    points = middle[..., None] + half[..., None] * NODES
    return half * (f(points) * WEIGHTS).sum(-1)


PUBLISHED: dict[str, Callable[[Any], Row]] = {}
"""By module and name: the row, made of the module where that is installed."""


def published(name):
    def add(row):
        PUBLISHED[name] = row
        return row

    return add


@published("optax.losses._classification: weighted_logsoftmax")
def _(module):
    return Row(
        module.weighted_logsoftmax, (X, RNG.normal(size=(4, 5))),
        lambda x, weights: weights * (x - jnp.log(jnp.exp(x).sum(-1, keepdims=True))),
        {"domain": {"x": (-100, 100)}},
    )  # fmt: skip


@published("optax.projections: projection_simplex")
def _(module):
    def plain(x):  # Held, Wolfe & Crowder 1974: x less the threshold at which the positive parts sum to one
        down = -jnp.sort(-x)
        thresholds = (jnp.cumsum(down) - 1) / jnp.arange(1, len(x) + 1)
        return jnp.maximum(x - thresholds[jnp.sum(down > thresholds) - 1], 0)

    return Row(module.projection_simplex, (V,), plain)


@published("optax: scale_gradient")
def _(module):
    def plain(x):
        return x

    return Row(
        lambda x: module.scale_gradient(x, 0.5), (X,), plain, {}, {"x": "factor"},
        "the gradient is scaled on purpose",
    )  # fmt: skip


@published("distrax._src.utils.math: multiply_no_nan")
def _(module):
    return Row(module.multiply_no_nan, (X, X + 1), lambda x, y: x * y)


@published("distrax._src.utils.math: power_no_nan")
def _(module):
    return Row(
        module.power_no_nan, (POSITIVE, RNG.normal(size=(4, 3))), lambda x, y: jnp.exp(y * jnp.log(x)),
        {"domain": {"x": (0, np.inf)}},
    )  # fmt: skip


@published("numpyro.distributions.util: log1mexp")
def _(module):
    return Row(
        module.log1mexp, (-POSITIVE,), lambda x: jnp.log(-jnp.expm1(x)), {"domain": {"x": (-np.inf, 0)}}
    )


@published("numpyro.distributions: DoublyTruncatedPowerLaw.log_prob")
def _(module):
    def plain(x, alpha, low, high):
        norm = (high ** (alpha + 1) - low ** (alpha + 1)) / (alpha + 1)
        return alpha * jnp.log(x) - jnp.log(norm)

    def own(x, alpha, low, high):
        return module.DoublyTruncatedPowerLaw(alpha, low, high).log_prob(x)

    args = (RNG.uniform(2.0, 3.0, 4), RNG.uniform(0.5, 2.0, 4), RNG.uniform(0.5, 1, 4), RNG.uniform(4, 5, 4))
    domain = {"x": (2.0, 3.0), "alpha": (0.5, 2.0), "low": (0.5, 1.0), "high": (4.0, 5.0)}
    return Row(
        own, args, plain, {"domain": domain}, {"low": "gradient", "high": "gradient"},
        "their shares are those of the density, not of its logarithm: it is not divided by the density",
    )  # fmt: skip


@published("tensorflow_probability.substrates.jax.math: log_cosh")
def _(module):
    return Row(module.log_cosh, (X,), lambda x: jnp.logaddexp(x, -x) - jnp.log(2.0))


@published("tensorflow_probability.substrates.jax.math: lambertw")
def _(module):
    def plain(z):
        w = jnp.log1p(z)
        for _ in range(12):  # Newton's
            w = w - (w - z * jnp.exp(-w)) / (1 + w)
        return w

    return Row(module.lambertw, (POSITIVE,), plain, {"domain": {"z": (0, 50)}, "rtol": 1e-9})


@published("tensorflow_probability.substrates.jax.math: betainc")
def _(module):
    def plain(a, b, x):
        def density(t):
            return jnp.exp((a[..., None] - 1) * jnp.log(t) + (b[..., None] - 1) * jnp.log1p(-t))

        whole = jax.lax.lgamma(a) + jax.lax.lgamma(b) - jax.lax.lgamma(a + b)
        return integral(density, jnp.zeros_like(x), x) / jnp.exp(whole)

    return Row(
        module.betainc, (POSITIVE + 3, POSITIVE + 4, SHARE), plain,
        {"domain": {"a": (3, 6), "b": (3, 6), "x": (0.05, 0.95)}, "rtol": 1e-7},
    )  # fmt: skip


@published("tensorflow_probability.substrates.jax.math: owens_t")
def _(module):
    def plain(h, a):
        def f(x):
            return jnp.exp(-((h[..., None]) ** 2) * (1 + x * x) / 2) / (1 + x * x)

        return integral(f, jnp.zeros_like(a), a) / (2 * jnp.pi)

    return Row(
        module.owens_t, (POSITIVE, SHARE), plain,
        {"domain": {"h": (0.1, 3), "a": (0.1, 2)}, "rtol": 1e-7},
    )  # fmt: skip


@published("tensorflow_probability.substrates.jax.math: dawsn")
def _(module):
    def plain(x):
        return integral(lambda t: jnp.exp(t * t - x[..., None] ** 2), jnp.zeros_like(x), x)

    return Row(module.dawsn, (X,), plain, {"domain": {"x": (-3, 3)}, "rtol": 1e-9})


@published("tensorflow_probability.substrates.jax.math: erfcx")
def _(module):
    return Row(
        module.erfcx, (SHARE,), lambda x: jnp.exp(x * x) * jax.scipy.special.erfc(x),
        {"domain": {"x": (-2, 3)}, "rtol": 1e-9},
    )  # fmt: skip


@published("tensorflow_probability.substrates.jax.math: bessel_ive")
def _(module):
    def plain(z):
        return integral(
            lambda t: jnp.exp(z[..., None] * (jnp.cos(t) - 1)) * jnp.cos(2 * t),
            jnp.zeros_like(z), jnp.full_like(z, jnp.pi),
        ) / jnp.pi  # fmt: skip

    return Row(
        lambda z: module.bessel_ive(jnp.full_like(z, 2.0), z), (POSITIVE,), plain,
        {"domain": {"z": (0.1, 10)}, "rtol": 1e-9},
    )  # fmt: skip


@published("tensorflow_probability.substrates.jax.math: log_bessel_kve")
def _(module):
    def plain(z):
        def f(t):
            return jnp.exp(-z[..., None] * (jnp.cosh(t) - 1)) * jnp.cosh(1.5 * t)

        pieces = [integral(f, jnp.full_like(z, a), jnp.full_like(z, a + 1)) for a in range(7)]
        return jnp.log(sum(pieces))

    return Row(
        lambda z: module.log_bessel_kve(jnp.full_like(z, 1.5), z), (POSITIVE,), plain,
        {"domain": {"z": (0.3, 5)}, "rtol": 1e-7},
    )  # fmt: skip


@published("tensorflow_probability.substrates.jax.math: lbeta")
def _(module):
    lgamma = jax.lax.lgamma
    return Row(
        module.lbeta, (POSITIVE, POSITIVE[::-1] + 1), lambda x, y: lgamma(x) + lgamma(y) - lgamma(x + y),
        {"domain": {"x": (0.1, 20), "y": (0.1, 20)}, "rtol": 1e-9},
    )  # fmt: skip


@published("tensorflow_probability.substrates.jax.math: hpsd_logdet")
def _(module):
    return Row(
        module.hpsd_logdet, (SPD,), lambda matrix: jnp.linalg.slogdet(matrix)[1],
        {"domain": lambda a: a @ a.T / np.linalg.norm(a) + 0.5 * np.eye(len(a))},
    )  # fmt: skip


@published("rlax: clip_gradient")
def _(module):
    return Row(
        lambda x: module.clip_gradient(x, -0.5, 0.5), (X,), lambda x: x, {}, {"x": "not linear"},
        "the cotangent is clipped on purpose",
    )  # fmt: skip


@published("e3nn_jax: spherical_harmonics")
def _(module):
    def of(algorithm):
        return lambda x: module.spherical_harmonics("1o+2e+3o", x, False, algorithm=algorithm).array

    return Row(
        of(("recursive", "dense", "custom_jvp")), (RNG.normal(size=(5, 3)),), of(("recursive", "sparse")),
        check=verify.check_jvp,
    )  # fmt: skip


@published("lineax: linear_solve")
def _(module):
    def own(matrix, b):
        return module.linear_solve(module.MatrixLinearOperator(matrix), b, solver=module.LU()).value

    regular = lambda a, b: (a / (1 + np.abs(a).max()) + 3 * np.eye(4), b)  # noqa: E731
    return Row(own, (SPD, V[:4]), jnp.linalg.solve, {"domain": regular})


@published("lineax.internal: two_norm")
def _(module):
    return Row(module.two_norm, (V,), lambda x: jnp.sqrt((x * x).sum()))


@published("lineax.internal: max_norm")
def _(module):
    return Row(module.max_norm, (V,), lambda x: jnp.abs(x).max())


def kepler(mean, eccentricity):
    e = mean
    for _ in range(40):
        e = e - (e - eccentricity * jnp.sin(e) - mean) / (1 - eccentricity * jnp.cos(e))
    return e


@published("optimistix: root_find")
def _(module):
    def own(mean, eccentricity):
        solver = module.Newton(rtol=1e-12, atol=1e-12)
        return module.root_find(
            lambda e, given: e - given[1] * jnp.sin(e) - given[0], solver, mean, (mean, eccentricity)
        ).value

    domain = {"mean": (0.2, 3.0), "eccentricity": (0.05, 0.7)}
    return Row(own, (POSITIVE[0], SHARE[0] / 2), kepler, {"domain": domain, "rtol": 1e-8})


@published("jaxopt: Bisection")
def _(module):
    def one(mean, eccentricity):
        solver = module.Bisection(
            lambda e, mean, eccentricity: e - eccentricity * jnp.sin(e) - mean, 0.0, 5.0, tol=1e-13,
            maxiter=60, check_bracket=False,
        )  # fmt: skip
        return solver.run(None, mean, eccentricity).params

    domain = {"mean": (0.2, 3.0), "eccentricity": (0.05, 0.7)}
    return Row(
        lambda mean, eccentricity: jnp.stack([one(m, e) for m, e in zip(mean, eccentricity, strict=True)]),
        (POSITIVE[0], SHARE[0] / 2), kepler, {"domain": domain, "rtol": 1e-8},
    )  # fmt: skip


@published("jaxopt.projection: projection_simplex")
def _(module):
    return PUBLISHED["optax.projections: projection_simplex"](module)


@published("jaxopt.implicit_diff: custom_root")
def _(module):
    def stationary(w, x, y):
        return x.T @ (x @ w - y) + 0.5 * w

    @module.custom_root(stationary)
    def solve(start, x, y):
        return jnp.linalg.solve(x.T @ x + 0.5 * jnp.eye(x.shape[1]), x.T @ y)

    def plain(x, y):  # the same by the kernel's matrix
        return x.T @ jnp.linalg.solve(x @ x.T + 0.5 * jnp.eye(len(x)), y)

    within = lambda x, y: (x / (1 + np.abs(x).max()), y)  # noqa: E731
    return Row(
        lambda x, y: solve(None, x, y), (X, V[:4]), plain, {"domain": within, "rtol": 1e-4}
    )  # its own linear solver stops early


@published("equinox.internal: while_loop")
def _(module):
    def own(x):
        state = module.while_loop(
            lambda s: s[0] < 5, lambda s: (s[0] + 1, jnp.sin(2 * s[1]) + x), (0, x), kind="checkpointed",
            max_steps=5,
        )  # fmt: skip
        return state[1]

    def plain(x):
        y = x
        for _ in range(5):
            y = jnp.sin(2 * y) + x
        return y

    return Row(own, (X,), plain)


@published("diffrax: BacksolveAdjoint")
def _(module):
    def own(y, rate):
        return module.diffeqsolve(
            module.ODETerm(lambda t, y, rate: -rate * y + jnp.sin(y)), module.Tsit5(), 0, 0.5, 0.05, y,
            args=rate, adjoint=module.BacksolveAdjoint(), max_steps=None,
        ).ys[0]  # fmt: skip

    def plain(y, rate):
        f, h = lambda y: -rate * y + jnp.sin(y), 0.5 / 40
        for _ in range(40):  # the classical method of Runge and Kutta
            a = f(y)
            b = f(y + h / 2 * a)
            c = f(y + h / 2 * b)
            y = y + h / 6 * (a + 2 * b + 2 * c + f(y + h * c))
        return y

    domain = {"y": (-2, 2), "rate": (0.2, 2)}
    return Row(own, (V[:3], POSITIVE[0]), plain, {"domain": domain, "rtol": 1e-5})


@published("matfree.decomp: tridiag_sym")
def _(module):
    def of(custom_vjp):
        def run(matrix, v):
            found = module.tridiag_sym(3, custom_vjp=custom_vjp)(lambda x, a: a @ x, v, matrix)
            return found.Q_tall, found.J_small

        return run

    within = lambda a, v: (a @ a.T / (1e-9 + np.linalg.norm(a)) + np.diag(np.arange(1.0, 5)), v)  # noqa: E731
    return Row(of(True), (SPD, V[:4]), of(False), {"domain": within, "rtol": 1e-8})


@published("matfree.decomp: hessenberg")
def _(module):
    def of(custom_vjp):
        def run(matrix, v):
            found = module.hessenberg(3, reortho="full", custom_vjp=custom_vjp)(lambda x, a: a @ x, v, matrix)
            return found.Q_tall, found.J_small

        return run

    within = lambda a, v: (a / (1 + np.abs(a).max()) + np.diag(np.arange(1.0, 5)), v)  # noqa: E731
    return Row(of(True), (FACTOR, V[:4]), of(False), {"domain": within, "rtol": 1e-8})


FP8 = (X.astype(np.float32), np.ones(1, np.float32), np.zeros(16, np.float32))


@published("flax.linen.fp8_ops: in_qdq")
def _(module):
    def plain(x, scale, history):
        return x + jax.lax.stop_gradient(
            module.quantize_dequantize_update(x, jnp.float8_e4m3fn, scale, history, x.dtype)[0] - x
        )

    return Row(
        lambda x, scale, history: module.in_qdq(jnp.float32, jnp.float8_e4m3fn, x, scale, history),
        FP8, plain, {}, {"scale": "gradient", "history": "cotangent ignored"},
        "the cotangents of the scale and of the history are their next values, on purpose",
    )  # fmt: skip


@published("flax.linen.fp8_ops: out_dq")
def _(module):
    return Row(
        lambda out, a, b: module.out_dq(jnp.float32, a, b, out), (FP8[0], FP8[1], FP8[1]),
        lambda out, a, b: out * a * b, {}, {"out": "derivative", "a": "zero", "b": "zero"},
        "the cotangent is not multiplied by the scales, which the matrix product's rule does",
    )  # fmt: skip


@published("flax.linen.fp8_ops: dot_general_with_precision")
def _(module):
    numbers = (((1,), (0,)), ((), ()))
    return Row(
        lambda x, w: module.dot_general_with_precision(x, w, numbers), (X, RNG.normal(size=(5, 3))),
        lambda x, w: x @ w,
    )  # fmt: skip


@published("jax_md.space: transform")
def _(module):
    return Row(
        module.transform, (FACTOR[:3, :3], X[:, :3]), lambda box, r: r @ box.T, {}, {"R": "derivative"},
        "forces are wanted in real space: the box is left out of the rule on purpose",
    )  # fmt: skip


@published("jax_md._nn.uma.common.rotation: safe_acos")
def _(module):
    return Row(module.safe_acos, (SHARE,), jnp.arccos, {"domain": {"x": (-0.99, 0.99)}})


@published("ott.math.utils: logsumexp")
def _(module):
    return Row(lambda x: module.logsumexp(x, axis=1), (X,), lambda x: jnp.log(jnp.exp(x).sum(1)))


@published("ott.math.utils: softmin")
def _(module):
    def plain(x, gamma):
        return -gamma * jax.scipy.special.logsumexp(-x / gamma, axis=1)

    return Row(
        lambda x, gamma: module.softmin(x, gamma, 1), (X, np.float64(0.7)), plain,
        {"domain": {"gamma": (0.1, 5)}}, {"gamma": "zero"},
        "None is returned for gamma, whose derivative is not zero",
    )  # fmt: skip


@published("ott.math.utils: lambertw")
def _(module):
    plain = PUBLISHED["tensorflow_probability.substrates.jax.math: lambertw"]
    return Row(
        lambda z: module.lambertw(z, 1e-12), (POSITIVE,), plain(module).reference,
        {"domain": {"z": (0, 50)}, "rtol": 1e-8},
    )  # fmt: skip


def normed(x, eps):
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + eps)


@published("jax.experimental.pallas.ops.gpu.layer_norm: layer_norm")
def _(module):
    def own(x, weight, bias):
        return module.layer_norm(x, weight, bias, interpret=True)

    args = RNG.normal(size=(2, 3, 128)), RNG.normal(size=128), RNG.normal(size=128)
    return Row(
        own,
        tuple(a.astype(np.float32) for a in args),
        lambda x, weight, bias: normed(x, 1e-5) * weight + bias,
    )


@published("jax.experimental.pallas.ops.gpu.rms_norm: rms_norm")
def _(module):
    def own(x, weight, bias):
        return module.rms_norm(x, weight, bias, interpret=True)

    def plain(x, weight, bias):
        return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5) * weight + bias

    args = RNG.normal(size=(2, 3, 128)), RNG.normal(size=128), RNG.normal(size=128)
    return Row(own, tuple(a.astype(np.float32) for a in args), plain)


@published("jax.experimental.pallas.ops.gpu.attention: mha")
def _(module):
    sizes = module.BlockSizes(
        block_q=16, block_k=16, block_q_dkv=16, block_kv_dkv=16, block_q_dq=16, block_kv_dq=16
    )

    def own(q, k, v):
        return module.mha(q, k, v, None, causal=True, block_sizes=sizes, interpret=True)

    def plain(q, k, v):
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k)
        scores = jnp.where(np.tri(q.shape[1], dtype=bool), scores, -1e30)
        return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores, -1), v)

    args = tuple(RNG.normal(size=(1, 32, 2, 16)).astype(np.float32) / 4 for _ in range(3))
    # far outside the kernel's exp(scores - lse) has fewer digits than a softmax
    return Row(own, args, plain, {"domain": dict.fromkeys("qkv", (-20, 20))})


@published("jax.nn: dot_product_attention")
def _(module):
    def plain(q, k, v):
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / 2.0
        return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores, -1), v)

    args = tuple(RNG.normal(size=(2, 5, 2, 4)) for _ in range(3))
    wrong = {"output": "forward"} | dict.fromkeys(("query", "key", "value"), "precision")
    return Row(
        module.dot_product_attention, args, plain, {}, wrong,
        "the softmax is taken in float32 whatever the dtype, so that float64 has not its digits",
    )  # fmt: skip


def imported(module):
    """The module; skipped, with the reason, where it is absent, or made for another JAX."""
    try:
        return importlib.import_module(module)
    except Exception as error:  # whatever it raises
        return pytest.skip(f"{module} cannot be imported: {type(error).__name__}: {error}")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published(name):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        RNG.bit_generator.state = START  # whichever rows were before
        row = PUBLISHED[name](imported(name.partition(":")[0]))
        double = any(np.asarray(leaf).dtype == np.float64 for leaf in jax.tree.leaves(row.args))
        with jax.enable_x64(double):  # there are kernels that do not survive it
            report = row.check(
                row.function, *row.args, reference=row.reference, skip={"shrinking": "the kind is read"},
                **row.options,
            )  # fmt: skip
    assert {f.path: f.kind for f in report.findings} == row.wrong, str(report)
    assert bool(row.wrong) is bool(row.why)


def test_the_table():
    assert len(PUBLISHED) >= 20
    assert len({name.partition(":")[0].partition(".")[0] for name in PUBLISHED}) >= 10
