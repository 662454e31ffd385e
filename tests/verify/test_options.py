"""What a user may say: domain, rtol, time_limit, order and static_argnums."""

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from jax_ref import verify
from jax_ref.verify import api, strategies
from jax_ref.verify.clock import Clock
from jax_ref.verify.points import domain

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 3))
POSITIVE = np.abs(X) + 0.1
MATRIX = X.T @ X + np.eye(3)
VALUES_ALONE = dict.fromkeys(("transforms", "reference"), "not looked at here")


def spying(f, seen):
    """`f`, which writes down what it is called with, and raises nothing."""

    def spied(*args):
        jax.debug.callback(lambda *values: seen.append(tuple(map(np.asarray, values))), *args)
        return f(*args)

    return spied


def positive_definite(a):
    return a @ a.T + np.eye(len(a))


def increasing(x):
    return np.sort(x, 0) + 0.1 * np.arange(len(x)).reshape(-1, *[1] * (x.ndim - 1))


def on_the_simplex(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


DOMAINS = {
    "positive": ({"x": (0, jnp.inf)}, POSITIVE, jnp.log, lambda x, d: d / x, lambda x: np.all(x > 0)),
    "negative": (
        {"x": (-jnp.inf, 0)}, -POSITIVE, lambda x: jnp.log(-x), lambda x, d: d / x, lambda x: np.all(x < 0),
    ),
    "between": (
        {"x": (0, 1)}, on_the_simplex(X),
        lambda x: jnp.log(x) - jnp.log1p(-x), lambda x, d: d / (x * (1 - x)),
        lambda x: np.all((x > 0) & (x < 1)),
    ),
    "positive definite": (
        positive_definite, MATRIX, lambda a: jnp.linalg.slogdet(a)[1], lambda a, d: d * jnp.linalg.inv(a).T,
        lambda a: np.all(np.linalg.eigvalsh((a + a.T) / 2) > 0),
    ),
    "sorted": (
        increasing, increasing(X), lambda x: jnp.log(jnp.diff(x, axis=0)).sum(),
        lambda x, d: d * jnp.diff(1 / jnp.diff(x, axis=0), axis=0, prepend=0 * x[:1], append=0 * x[:1]) * -1,
        lambda x: np.all(np.diff(x, axis=0) > 0),
    ),
    "on the simplex": (
        on_the_simplex, on_the_simplex(X), lambda p: -(p * jnp.log(p)).sum(-1),
        lambda p, d: -d[:, None] * (jnp.log(p) + 1),
        # beside a point it is also looked where derivatives by differences are taken
        lambda p: np.all(p >= -1e-5) and np.allclose(p.sum(-1), 1, atol=1e-4),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *((name, False) for name in DOMAINS),
        ("positive", True),
        *(pytest.param(name, True, marks=pytest.mark.slow) for name in DOMAINS if name != "positive"),
    ],
)
def test_no_point_is_outside_of_the_domain(name, wrong):
    inside, x, reference, back, holds = DOMAINS[name]
    seen = []
    report = verify.check(
        lambda x: (spying(reference, seen)(x), x), lambda x, d: ((2 if wrong else 1) * back(x, d),), x,
        reference=reference, domain=inside, skip=VALUES_ALONE,
    )  # fmt: skip
    jax.effects_barrier()
    if name != "on the simplex":  # whose softmax has zeros far out, where the entropy has no derivative
        assert all(f.kind == "factor" for f in report.findings), str(report)
    assert report.ok is not wrong, str(report)
    assert len(seen) > 10
    assert {len(arg) for (arg,) in seen} > ({len(x)} if name != "positive definite" else set())
    assert all(holds(arg) for (arg,) in seen)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, jnp.bfloat16, np.float16])
@pytest.mark.parametrize("interval", [(0, np.inf), (-np.inf, 0), (0, 1), (-1, 1), (0.999, 1.001), (-1e4, -1)])
def test_values_are_taken_inside_in_every_dtype(dtype, interval):
    with np.errstate(over="ignore"):
        x = np.array([0, 1, -1, 0.5, -0.3, 1e3, -1e3, 1e5, -1e30, 1e-30, 0.9999999]).astype(dtype)
    (moved,) = domain.within({"x": interval}, (x,), ("x",))
    assert moved.dtype == x.dtype
    exact = moved.astype(np.float64)
    assert np.all((exact > interval[0]) & (exact < interval[1])), exact
    inside = (x.astype(np.float64) > interval[0]) & (x.astype(np.float64) < interval[1])
    assert np.array_equal(moved[inside], x[inside])


def test_a_domain_of_a_tree_covers_its_leaves():
    args = ({"scale": np.array([-2.0]), "deep": {"w": np.array([-3.0])}}, np.array([-1.0]))
    moved = domain.within({"p": (0, np.inf), "p['deep']": (0, 1)}, args, ("p", "x"))
    assert [float(x[0]) for x in jax.tree.leaves(moved)] == [0.999, 2.0, -1.0]


def test_what_a_strategy_draws_is_taken_inside():
    seen = []
    report = verify.check(
        lambda x: (spying(jnp.log, seen)(x), x), lambda x, d: (d / x,), POSITIVE, reference=jnp.log,
        examples=st.tuples(strategies.floats((4, 3), np.float64)), domain={"x": (0, jnp.inf)}, level="quick",
    )  # fmt: skip
    jax.effects_barrier()
    assert report.ok, str(report)
    assert len({arg.tobytes() for (arg,) in seen}) > 10
    assert all(np.all(arg > 0) for (arg,) in seen)


def newton(steps, a):
    return jax.lax.fori_loop(0, steps, lambda _, x: x - (x * x - a) / (2 * x), jnp.ones_like(a))


def solved(steps, factor=1.0, power=1):
    """The root by some steps, with the derivative of the exact one."""
    root = functools.partial(newton, steps)
    return lambda a: (root(a), root(a)), lambda y, d: (factor * d**power / (2 * y),)


INEXACT = {
    "as close": (solved(4), 1e-2, True, ""),
    "no closer": (solved(2), 1e-9, False, "differs from the reference's by"),
    "twice": (solved(6, 2), 1e-2, False, "it is 1.9999|it is 2 times"),
    "not linear": (solved(6, 1, 2), 1e-2, False, r"off by \d.*e.* of its norm, allowed \d"),
    "a little not linear": (
        (solved(6)[0], lambda y, d: ((d + 1e-5 * d * d) / (2 * y),)), 1e-3, True, "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", INEXACT)
def test_what_is_solved_by_iteration_is_held_to_what_is_asked(name):
    pair, rtol, ok, text = INEXACT[name]
    report = verify.check(
        *pair, np.array([0.7, 1.3, 2.0]), reference=jnp.sqrt, rtol=rtol, domain={"a": (0.5, 3)},
    )  # fmt: skip
    assert report.ok is ok, str(report)
    assert any("rtol: both sides may be" in note for note in report.notes)
    assert not text or any(re.search(text, f.text) for f in report.findings), str(report)


def test_after_the_time_limit_it_says_what_was_not_tried():
    wrong = lambda x, d: (2 * x * d * jnp.cos(x),)  # noqa: E731
    report = verify.check(lambda x: (x * x, x), wrong, X, reference=jnp.square, time_limit=1e-3)
    assert [f.kind for f in report.findings] == ["gradient"]
    assert "the time was over before it was explained" in report.findings[0].text
    assert any(
        re.search(
            "time_limit of 0.001 s was over: not tried: equal cotangents, moved, .*linearity.*reference", note
        )
        for note in report.notes
    ), str(report)
    assert report.tried.startswith("1 point, ")
    assert "time_limit=0.001" in report.findings[0].line


def test_the_last_line_says_what_was_tried():
    args, jitted = X.astype(np.float32), r"called twice, without jit and vmap"
    asked: list[tuple[Any, str]] = [
        (
            {},
            rf"\d+ points, \d+ cotangents, batch sizes 1, 4 and 9, float32 and float64, {jitted}, .* s",
        ),
        (
            {"level": "quick"},
            "3 points, 11 cotangents, no other batch size, float32 and float64, no transform, .* s",
        ),
        ({"dtypes": [jnp.bfloat16, jnp.float64], "level": "quick"}, ".* bfloat16 and float64, .* s"),
    ]
    for options, line in asked:
        report = verify.check(
            lambda x: (x * x, x), lambda x, d: (2 * x * d,), args, reference=jnp.square, **options
        )  # fmt: skip
        assert re.fullmatch(line, report.tried), report.tried
        assert str(report).splitlines()[-1] == f"tried: {report.tried}"


def test_what_is_being_done_is_shown_on_a_terminal_alone(monkeypatch, capsys):
    class Terminal:
        def __init__(self):
            self.text = ""

        def write(self, text):
            self.text += text

        def flush(self):
            pass

        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("jax_ref.verify.clock.QUIET", -1)
    verify.check(lambda x: (x * x, x), lambda x, d: (2 * x * d,), X, reference=jnp.square, level="quick")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("jax_ref.verify.clock.sys.stderr", terminal)
    verify.check(lambda x: (x * x, x), lambda x, d: (2 * x * d,), X, reference=jnp.square, level="quick")
    assert re.search(r"\rverify: .* at moved \(0 s\) *", terminal.text)
    assert terminal.text.endswith(" \r")
    assert Clock().over is False


SECOND = {
    "cube": (lambda x: (x**3, x), lambda x, d: (3 * x * x * d,), jnp.array([0.7, -1.2]), None),
    "a constant": (
        lambda x: (x**3, x), lambda x, d: (3 * x * jax.lax.stop_gradient(x) * d,), jnp.array([0.7, -1.2]),
        "x: the gradient of the gradient: it is 0.5 times",
    ),
    "a stopped cotangent": (
        lambda x: (x**3, x), lambda x, d: (3 * x**2 * jax.lax.stop_gradient(d),), jnp.array([0.7, -1.2]),
        "d_output: the gradient of the gradient: it is zero",
    ),
    "a stopped residual": (
        lambda x: (x**3, jax.lax.stop_gradient(x)), lambda x, d: (3 * x**2 * d,), jnp.array([0.7, -1.2]),
        "x: the gradient of the gradient: it is zero",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SECOND)
def test_the_gradient_of_the_gradient(name):
    fwd, bwd, x, text = SECOND[name]
    skip = dict.fromkeys(("transforms", "reference", "batches", "shrinking"), "not looked at here")
    assert verify.check(fwd, bwd, x, reference=lambda x: x**3, skip=skip).ok
    report = verify.check(fwd, bwd, x, reference=lambda x: x**3, order=2, skip=skip)
    assert [leaf.path for leaf in report.leaves] == ["x", "x, 2nd order", "d_output, 2nd order"]
    assert report.ok is (text is None), str(report)
    assert not text or any(text in str(f) and "order=2" in f.line for f in report.findings), str(report)


def test_second_order_of_a_wrong_gradient_is_not_tried():
    report = verify.check(
        lambda x: (x**3, x), lambda x, d: (x * x * d,), X, reference=lambda x: x**3, order=2, level="quick"
    )
    assert "not tried: the gradient of the gradient: the gradient itself is wrong" in report.notes


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def power(x, n):
    return x**n


power.defvjp(lambda x, n: (x**n, x), lambda n, x, d: (n * x ** (n - 1) * d,))


def scaled_fwd(mode, x, scale):
    return (x * scale if mode == "double" else x), scale


def scaled(mode, x, scale):
    return x * scale if mode == "double" else x


STATIC = {
    "of a custom_vjp": lambda: verify.check_function(power, X, 3, reference=lambda x, n: x**n, level="quick"),
    "named": lambda: verify.check(
        lambda x, n: (x**n, x), lambda n, x, d: (n * x ** (n - 1) * d,), X, 3,
        reference=lambda x, n: x**n, static_argnums=1, level="quick",
    ),
    "not passed to bwd": lambda: verify.check(
        scaled_fwd, lambda scale, d: (d * scale,), "double", X, 3.0,
        reference=scaled, static_argnums=(0, -1), level="quick",
    ),
    "of an op": lambda: verify.check_op(
        type("Op", (), {
            "fwd": staticmethod(lambda x, n: (x**n, (x, n))),
            "bwd": staticmethod(lambda res, d: res[1] * res[0] ** (res[1] - 1) * d),
        }), X, 3, reference=lambda x, n: x**n, static_argnums=(1,), level="quick",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STATIC)
def test_static_arguments(name):
    report = STATIC[name]()
    assert report.ok, str(report)
    assert [leaf.path for leaf in report.leaves] == ["x"]


def test_the_line_has_the_static_arguments_in_their_places():
    report = verify.check(
        scaled_fwd,
        lambda scale, d: (2 * d * scale,),
        "double",
        X,
        3.0,
        reference=scaled,
        static_argnums=(0, 2),
    )
    line = report.findings[0].line
    assert re.search(
        r"check\(scaled_fwd, bwd, 'double', jnp.array\(.*\), 3.0, .*static_argnums=\(0, 2\)\)", line
    )
    names = {"scaled_fwd": scaled_fwd, "bwd": lambda scale, d: (2 * d * scale,), "scaled": scaled}
    again = eval(line, names | {"jnp": jnp, "verify": verify})
    assert [f.path for f in again.findings] == ["x"]


def test_1_and_true_are_other_settings():
    fwd, bwd = (lambda x, n: (x * (2 if n is True else 1), n)), (lambda n, d: (d * (2 if n is True else 1),))
    for n in (1, True):
        assert verify.check(
            fwd, bwd, X, n, reference=lambda x, n: fwd(x, n)[0], static_argnums=1, level="quick"
        ).ok


FORGOTTEN = {
    "an axis": (lambda x, axis: jnp.sum(x, axis), 1),
    "a flag": (lambda x, axis: x if axis else -x, True),
    "a shape": (lambda x, axis: x.reshape(axis, -1), 2),
    "a range": (lambda x, axis: sum(x * i for i in range(axis)), 3),
}


@pytest.mark.parametrize("name", FORGOTTEN)
def test_a_setting_that_is_traced_is_named(name):
    f, setting = FORGOTTEN[name]
    message = r"axis must be a plain value: bind it with functools.partial, or .* static_argnums=\(1,\)"
    with pytest.raises(TypeError, match=message):
        verify.check(lambda x, axis: (f(x, axis), x), lambda x, d: (x, None), X, setting, reference=f)


def check(**options):
    return verify.check(lambda x: (x * x, x), lambda x, d: (2 * x * d,), X, reference=jnp.square, **options)


BAD = {
    "an option was 'levl'; did you mean 'level'": {"levl": "quick"},
    "rtol was -1; expected a number from 0": {"rtol": -1},
    "rtol was '1e-3'; expected a number": {"rtol": "1e-3"},
    "time_limit was 0; expected a number of seconds above 0": {"time_limit": 0},
    "order was 3; expected one of 1, 2": {"order": 3},
    "domain was 'y'; expected one of x": {"domain": {"y": (0, 1)}},
    "domain.'x'. was .1, 0.; expected .low, high.": {"domain": {"x": (1, 0)}},
    "x has .*; domain says that it is inside of .0, 1.": {"domain": {"x": (0, 1)}},
    "domain was 3; expected intervals by path": {"domain": 3},
    "domain returned an array of shape .1,.; expected .4, 3.": {
        "domain": lambda x: np.zeros(1), "examples": [(np.ones((4, 3)),)],
    },
    "static_argnums named 2; expected positions among 1 arguments": {"static_argnums": 2},
    "static_argnums named 'x'; expected positions": {"static_argnums": ["x"]},
}  # fmt: skip


@pytest.mark.parametrize("message", BAD)
def test_bad_options_are_told(message):
    with pytest.raises((TypeError, ValueError), match=message):
        check(**BAD[message])


def test_static_arguments_are_the_same_in_all_examples():
    with pytest.raises(ValueError, match="a static argument is another in some of the examples"):
        verify.check(
            lambda x, n: (x**n, x), lambda n, x, d: (n * x ** (n - 1) * d,), X, 3,
            reference=lambda x, n: x**n, static_argnums=1, examples=[(X, 2)],
        )  # fmt: skip


def test_pytest_hides_the_verifiers_own_frames():
    with pytest.raises(AssertionError) as caught:
        verify.assert_gradients(
            lambda x: (x * x, x), lambda x, d: (x * d,), X, reference=jnp.square, level="quick"
        )
    shown = [entry for entry in caught.traceback if not entry.ishidden(caught)]
    assert [str(entry.path) for entry in shown] == [__file__]
    assert api.__file__ in {str(entry.path) for entry in caught.traceback}
