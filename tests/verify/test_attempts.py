"""What the user's code raises where the verifier takes it: told with the user's own line, not raised."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import pytest

from jax_ref import verify
from jax_ref.verify.program.raised import own_line

RNG = np.random.default_rng(0)
X, SQUARE = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 4))
VALUES_ALONE = dict.fromkeys(("transforms", "reference", "shrinking"), "not looked at here")


def square(x):
    return x * x


def saved(x):
    return x * x, x


def back(x, d):
    return (2 * x * d,)


def even(x):
    if x.shape[0] % 2:
        raise ValueError(f"{x.shape[0]} rows; expected pairs")
    return x * x


def only_float32(x):
    if x.dtype != jnp.float32:
        raise TypeError(f"made for float32, not for {x.dtype}")
    return x * x


def small_alone(x):
    def host(x):
        if np.max(np.abs(x)) > 100:
            raise OverflowError("too large for the table")
        return np.asarray(x)

    return jax.pure_callback(host, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="sequential")


def without_vmap(x):
    return jax.pure_callback(lambda x: np.asarray(x) ** 2, jax.ShapeDtypeStruct(x.shape, x.dtype), x)


def top(x):
    return jax.lax.top_k(x, 3)[0]


def top_saved(x):
    values, at = jax.lax.top_k(x, 3)
    return values, (x, at)


def top_back(res, d):
    x, at = res
    return (jnp.zeros_like(x).at[at].add(d),)


def three(x):
    return jax.lax.dynamic_slice(x, (0, 0), (3, 3)).sum()


@jax.custom_jvp
def of_small(x):
    return small_alone(x) ** 2


of_small.defjvp(lambda x, t: (of_small(*x), 2 * x[0] * t[0]))


NOTED = {
    "top k": (top_saved, top_back, top, X[:, 0], "not tried at 1: .*ValueError: k argument.*`jax.lax.top_k"),
    "a slice": (
        lambda x: (three(x), x), lambda x, d: (jnp.zeros_like(x).at[:3].set(d),), three, X,
        r"not tried at 1: .*TypeError: .*`jax.lax.dynamic_slice.*` \(test_attempts.py",
    ),
    "even sizes, both": (
        lambda x: (even(x), x), back, even, X,
        r"not tried at 9: .*the reference raises ValueError: 9 rows; expected pairs \(`raise ValueError",
    ),
    "even sizes, forward": (
        lambda x: (even(x), x), back, square, X, "not tried at 1: .*: fwd raises ValueError: 1 rows",
    ),
    "float32 alone": (
        lambda x: (only_float32(x), x), back, only_float32, X.astype(np.float32),
        "does not take float64.* TypeError: made for float32, not for float64",
    ),
    "small values, reference": (
        saved, back, of_small, X,
        "not tried at large, .*: the reference raises .*OverflowError: too large for",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NOTED)
def test_what_the_reference_or_the_forward_does_not_take_is_a_note(name):
    *pair, reference, x, note = NOTED[name]
    report = verify.check(*pair, x, reference=reference, skip=VALUES_ALONE)
    assert report.ok, str(report)
    assert re.search(note, "\n".join(report.notes)), str(report)
    reasons = [text.partition("raises ")[2] for text in report.notes if text.startswith("not tried at")]
    assert len(reasons) == len(set(reasons)), "told once, for all points"


def test_a_line_of_jaxlib_is_nobodys():
    """Where a program is compiled no line of the user's is known: then none is told."""
    inside = compile("raise ValueError('no routine')", f"{Path(jaxlib.__file__).parent}/lapack.py", "exec")
    with pytest.raises(ValueError, match="no routine") as raised:
        exec(inside)
    own, of_jaxlib = raised.tb, raised.tb.tb_next
    assert "exec(inside)" in own_line(raised.value.with_traceback(own))
    assert own_line(raised.value.with_traceback(of_jaxlib)) == ""


FOUND = {
    "dot of rows": (
        saved, lambda x, d: (2 * x * d if len(x) > 1 else x @ d,), square, SQUARE,
        "batch", r"raises for a batch of 1: TypeError: dot_general requires .*`x @ d` \(test_attempts.py",
    ),
    "even sizes": (
        saved, lambda x, d: (2 * x * d + 0 * even(x),), square, X,
        "batch", "raises for a batch of 1, a batch of 9: ValueError: 1 rows; expected pairs",
    ),
    "squeezed": (
        saved, lambda x, d: (jnp.squeeze(2 * x * d),), square, X,
        "batch", r"for a batch of 1 the cotangent has shape \(3,\); expected \(1, 3\)",
    ),
    "output squeezed": (
        lambda x: (jnp.squeeze(x * x), x), back, square, X,
        "forward", r"for a batch of 1 the output has \(\(3,\).*the reference's has \(\(1, 3\)",
    ),
    "small values": (
        saved, lambda x, d: (2 * small_alone(x) * d,), square, X,
        "raises", r"raises at large, large, negated, offset: .*OverflowError: too large for the table",
    ),
    "one dtype": (
        saved, lambda x, d: (2 * only_float32(x) / x * d,), square, X,
        "raises", r"TypeError: made for float32, not for float64 \(`raise TypeError",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_what_the_backward_alone_does_not_take_is_found(name):
    *pair, reference, x, kind, text = FOUND[name]
    report = verify.check(*pair, x, reference=reference, skip=VALUES_ALONE)
    assert any(f.kind == kind and re.search(text, f.text) for f in report.findings), str(report)


def test_a_dtype_that_the_reference_does_not_take_is_a_note():
    asked = {"reference": only_float32, "skip": VALUES_ALONE}
    report = verify.check(lambda x: (only_float32(x), x), back, X, dtypes=[jnp.float32, jnp.float16], **asked)
    assert {leaf.dtype for leaf in report.leaves} == {"float32"}
    assert any("not tried in float16: the reference raises TypeError: made" in note for note in report.notes)
    with pytest.raises(TypeError, match="made for float32, not for float16"):
        verify.check(lambda x: (only_float32(x), x), back, X, dtypes=[jnp.float16], **asked)


def test_vmap_that_only_the_pair_does_not_take_is_found():
    skip = dict.fromkeys(("ladder", "batches", "reference", "shrinking"), "not looked at here")
    report = verify.check(lambda x: (without_vmap(x), x), back, X, reference=square, skip=skip)
    assert [f.kind for f in report.findings] == ["transform"], str(report)
    assert "raises under vmap: NotImplementedError" in report.findings[0].text
    assert "without jit" in report.tried


def helper(x):
    return x @ jnp.ones((7, 2))


def own_error(x):
    raise KeyError("no such layer")


RAISING = {
    "in a helper": (helper, r"TypeError: dot_general .*`x @ jnp.ones\(\(7, 2\)\)`", None),
    "the user's own": (own_error, r"KeyError: 'no such layer' \(`raise KeyError", None),
    "of a helper": (lambda x: even(x[:3]), "ValueError: 3 rows; expected pairs .`raise ValueError", None),
    "NumPy": (lambda x: np.sin(x), r"TracerArrayConversionError.*`np.sin\(x\)`", "compute with jax.numpy"),
    "if": (
        lambda x: x if x.sum() > 0 else -x,
        r"TracerBool.*`x.sum\(\) > 0`",
        "jax.numpy.where or jax.lax.cond",
    ),
    "a mask": (lambda x: x[x > 0], r"NonConcreteBooleanIndex.*`x\[x > 0\]`", "with three arguments"),
    "a size": (lambda x: jnp.ones(int(x.sum())), r"Concretization.*`int\(x.sum\(\)\)`", "static_argnums"),
}


@pytest.mark.parametrize("where", ["reference", "backward", "forward"])
@pytest.mark.parametrize("name", RAISING)
def test_the_users_own_line_is_named(name, where):
    raising, text, hint = RAISING[name]
    if where == "reference":
        with pytest.raises(TypeError) as caught:
            verify.check(saved, back, X, reference=raising)
        told = str(caught.value)
    elif where == "backward":
        told = (
            verify.check(saved, lambda x, d: (raising(x),), X, reference=square, level="quick")
            .findings[0]
            .text
        )
    else:
        told = (
            verify.check(lambda x: (raising(x), x), back, X, reference=square, level="quick").findings[0].text
        )
    assert re.search(text, told), told
    assert "test_attempts.py" in told
    assert "api.py" not in told
    assert "sides.py" not in told
    assert "runner.py" not in told
    hints = ("jax.numpy", "static_argnums", "functools.partial")
    assert hint in told if hint else not any(h in told.partition("TypeError: dot")[0] for h in hints), told


def failing(x):
    def host(x):
        raise RuntimeError("the device is gone")

    return jax.pure_callback(host, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="sequential")


@jax.custom_jvp
def failing_reference(x):
    return failing(x)


failing_reference.defjvp(lambda x, t: (failing(*x), t[0]))


def test_what_raises_when_it_runs_at_the_example():
    told = r"RuntimeError: the device is gone \(`raise RuntimeError"
    with pytest.raises(
        TypeError, match=f"the reference raises at the example: .*{told}|differentiate.*{told}"
    ):
        verify.check(saved, back, X, reference=failing_reference)
    forward = verify.check(lambda x: (failing(x), x), back, X, reference=square, skip=VALUES_ALONE)
    assert re.search(f"fwd raises at the example: .*{told}", forward.findings[0].text)
    backward = verify.check(saved, lambda x, d: (failing(x),), X, reference=square, skip=VALUES_ALONE)
    assert re.search(f"raises at example.*: .*{told}", backward.findings[0].text)


COMPLEX = {
    "all": lambda x: jax.lax.complex(x, x),
    "a part": lambda x: (x, jax.lax.complex(x, x)),
    "of float32": lambda x: jnp.fft.rfft(x.astype(jnp.float32)),
}


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_output_is_told_and_what_to_do(name):
    f = COMPLEX[name]
    with pytest.raises(TypeError, match=r"the output is complex .*real and its imaginary part.*a - 1j \* b"):
        verify.check(lambda x: (f(x), x), back, X, reference=f)


def test_what_is_told_to_do_about_complex_output_is_right():
    def f(x):
        return jnp.exp(jax.lax.complex(x, x**2))

    def bwd(x, d):
        a, b = d
        slope = f(x) * jax.lax.complex(jnp.ones_like(x), 2 * x)
        return ((jax.lax.complex(a, -b) * slope).real,)

    parts = lambda x: (f(x).real, f(x).imag)  # noqa: E731
    assert verify.check(lambda x: (parts(x), x), bwd, X, reference=parts, level="quick").ok
