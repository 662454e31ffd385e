"""The verifier in use: its forms and options, and what it says of bad use."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_ref import verify
from manual_bp.ops import activations, dense, softmax_cross_entropy
from tests.verify.layer import B, W, X, bwd, fwd, reference, wrong

of_one_is_zero = wrong(lambda dx, dw, db, res, dy: (dx if len(dy) > 1 else 0 * dx, dw, db))


def test_a_part_left_out_is_noted_with_its_reason():
    report = verify.check(fwd, bwd, X, W, B, reference=reference, skip={"batches": "the batch is fixed"})
    assert "left out: batches (the batch is fixed)" in report.notes
    assert verify.check(fwd, of_one_is_zero, X, W, B, reference=reference, skip={"batches": "so"}).ok


def test_a_level_climbs_more_than_the_one_below():
    rectified = lambda x: jnp.maximum(x, 0)  # noqa: E731
    pair = lambda x: (rectified(x), x > 0), lambda on, d: (jnp.where(on, d, 0),)
    met = [
        len(verify.check(*pair, X, reference=rectified, level=level).undecided)
        for level in ("quick", "default", "thorough")
    ]
    assert met[0] < met[1] < met[2]


def test_without_a_reference_the_forward_is_its_own():
    report = verify.check(fwd, bwd, X, W, B)
    assert report.ok
    assert any("was not checked" in note for note in report.notes)


def test_an_op_of_this_project():
    params = dense.Params(jnp.asarray(W), jnp.asarray(B))
    assert verify.check_op(dense, params, X).ok
    labels = np.array([0, 2, 1, 1])
    report = verify.check_op(softmax_cross_entropy, X, labels, label_smoothing=0.1)
    assert report.ok, str(report)
    verify.assert_gradients(activations.tanh, X, reference=jnp.tanh)


def test_a_custom_vjp_function():
    f = jax.custom_vjp(lambda x: jnp.sin(x))
    f.defvjp(lambda x: (jnp.sin(x), x), lambda x, d: (d * jnp.cos(x),))
    assert verify.check_function(f, X, reference=jnp.sin).ok
    g = jax.custom_vjp(lambda x: jnp.sin(x))
    g.defvjp(lambda x: (jnp.sin(x), x), lambda x, d: (-d * jnp.cos(x),))
    with pytest.raises(AssertionError, match=r"\[sign\] x"):
        verify.assert_gradients(g, X, reference=jnp.sin)


def host(x):
    return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)


BAD = {
    "fwd was 3; expected a function": lambda: verify.check(3, bwd, X),  # pyright: ignore[reportArgumentType]
    "no arguments were given": lambda: verify.check(fwd, bwd),
    "level was 'thorogh'; did you mean 'thorough'": lambda: verify.check(fwd, bwd, X, W, B, level="thorogh"),
    "kinks was 'left'; expected one of undecided, autodiff": lambda: verify.check(fwd, bwd, X, kinks="left"),
    "precision was 'al'; expected one of everywhere, example, report": lambda: verify.check(
        fwd, bwd, X, precision="al"
    ),
    "skip was 'batch'; did you mean 'batches'": lambda: verify.check(fwd, bwd, X, skip={"batch": "x"}),
    "skip.'batches'. was ''; expected the reason": lambda: verify.check(fwd, bwd, X, skip={"batches": ""}),
    "skip was .'batches'.; expected a part and the reason": lambda: verify.check(
        fwd,
        bwd,
        X,
        skip=["batches"],  # pyright: ignore[reportArgumentType]
    ),
    "dtypes named <class 'int'>; expected floating point": lambda: verify.check(fwd, bwd, X, dtypes=[int]),
    "w is complex; expected real": lambda: verify.check(fwd, bwd, X, W + 1j, B),
    "w was 'text'; expected an array.*functools.partial": lambda: verify.check(fwd, bwd, X, "text", B),
    "x was array.*dtype=object": lambda: verify.check(fwd, bwd, np.array([None])),
    "b was <function reference.*is it the reference": lambda: verify.check(fwd, bwd, X, W, reference),
    "no argument is of floating point": lambda: verify.check(fwd, bwd, np.arange(3)),
    "no output is of floating point": lambda: verify.check(lambda x: (x > 0, x), lambda x, d: (x,), X),
    "seed was -1; expected an integer from 0": lambda: verify.check(fwd, bwd, X, W, B, seed=-1),
    "dtypes was .*float32.*; expected a list": lambda: verify.check(
        fwd,
        bwd,
        X,
        dtypes=jnp.float32,  # pyright: ignore[reportArgumentType]
    ),
    "an example was an array; expected a tuple of arguments": lambda: verify.check(fwd, bwd, examples=[X]),
    "arguments of the example: TracerBoolConversionError.*functools.partial": lambda: verify.check(
        fwd, bwd, X, True, reference=lambda x, flag: x if flag else -x
    ),
    "fwd returned ndarray|expected .output, residuals.": lambda: verify.check(reference, bwd, X, W, B),
    "reference was None": lambda: verify.check_function(reference, X, W, B),
    "reference could not be called with the 3 arguments": lambda: verify.check(
        fwd, bwd, X, W, B, reference=jnp.sin
    ),
    "JAX cannot differentiate the reference: Pure callbacks": lambda: verify.check(
        lambda x: (host(x), x), lambda x, d: (d * jnp.cos(x),), X, reference=host
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_use_is_told(message):
    with pytest.raises((TypeError, ValueError), match=f"(?s){message}"):
        BAD[message]()


def test_functions_that_have_no_hash():
    class Sine:
        __hash__ = None  # pyright: ignore[reportAssignmentType]

        def __call__(self, x):
            return jnp.sin(x)

    assert verify.check(lambda x: (jnp.sin(x), x), lambda x, d: (d * jnp.cos(x),), X, reference=Sine()).ok


def test_a_process_without_x64_stays_so():
    program = """
import jax, jax.numpy as jnp
from jax_ref import verify
pair = lambda x: (jnp.sin(x), x), lambda x, d: (d * jnp.cos(x) * (1 + 1e-4),)
report = verify.check(*pair, jnp.linspace(0.1, 2, 6), reference=jnp.sin)
assert [f.kind for f in report.findings] == ["factor"], str(report)
assert report.leaves[0].dtype == "float32"
assert jnp.ones(1).dtype == jnp.float32
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
