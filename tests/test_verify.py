"""The verifier: what it says of a right gradient, of each kind of wrong one, and of bad use."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jax_ref import verify
from jax_ref.verify import differences, strategies
from manual_bp.ops import activations, dense, softmax_cross_entropy

RNG = np.random.default_rng(0)
X, W, B = RNG.normal(size=(4, 3)), RNG.normal(size=(3, 5)), RNG.normal(size=5)


NO_SHRINKING = {"shrinking": "its example is not looked at here"}
VALUES_ALONE = NO_SHRINKING | dict.fromkeys(("transforms", "reference", "batches"), "to be quick")


def fwd(x, w, b):
    y = jnp.tanh(x @ w + b[None])
    return y, (x, w, y)


def bwd(res, dy):
    x, w, y = res
    dz = dy * (1 - y * y)
    return dz @ w.T, x.T @ dz, dz.sum(0)


def reference(x, w, b):
    return jnp.tanh(jnp.dot(x, w) + b[None])


def wrong(change):
    """`bwd` with its cotangents changed by `change(dx, dw, db, res, dy)`."""
    return lambda res, dy: change(*bwd(res, dy), res, dy)


MISTAKES = {
    "factor": wrong(lambda dx, dw, db, res, dy: (dx, dw / len(dy), db)),
    "sign": wrong(lambda dx, dw, db, res, dy: (dx, dw, -db)),
    "zero": wrong(lambda dx, dw, db, res, dy: (0 * dx, dw, db)),
    "flipped": wrong(lambda dx, dw, db, res, dy: (dx, dw[::-1], db)),
    "shifted": wrong(lambda dx, dw, db, res, dy: (dx, dw, jnp.roll(db, 1))),
    "added term": wrong(lambda dx, dw, db, res, dy: (dx, dw + 0.1 * res[1], db)),
    "cotangent ignored": wrong(lambda dx, dw, db, res, dy: (dx, dw, bwd(res, jnp.ones_like(dy))[2])),
    "not linear": wrong(lambda dx, dw, db, res, dy: (dx, bwd(res, jnp.abs(dy))[1], db)),
    "reduction": wrong(lambda dx, dw, db, res, dy: (dx, dw, (dy * (1 - res[2] ** 2))[-1])),
    "conditional": wrong(lambda dx, dw, db, res, dy: (jnp.where(res[0] < 0, 2 * dx, dx), dw, db)),
    "batch": wrong(lambda dx, dw, db, res, dy: (dx if len(dy) > 1 else 0 * dx, dw, db)),
    "precision": wrong(lambda dx, dw, db, res, dy: (dx.astype(jnp.float16).astype(dx.dtype), dw, db)),
    "not finite": wrong(lambda dx, dw, db, res, dy: (dx, dw.at[0, 1].set(jnp.nan), db)),
    "structure": wrong(lambda dx, dw, db, res, dy: (dx, dw, db[None])),
    "raises": wrong(lambda dx, dw, db, res, dy: (dx, dw @ dw, db)),
}


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.bfloat16])
def test_a_right_gradient_is_right(dtype):
    args = [jnp.asarray(a, dtype) for a in (X, W, B)]
    for seed in range(5):
        report = verify.check(fwd, bwd, *args, reference=reference, seed=seed)
        assert report.ok, str(report)
        assert [leaf.path for leaf in report.leaves] == ["x", "w", "b"]
        assert all(leaf.verdict == "right" for leaf in report.leaves)


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_named(kind):
    skip = NO_SHRINKING if kind == "batch" else VALUES_ALONE
    report = verify.check(fwd, MISTAKES[kind], X, W, B, reference=reference, skip=skip)
    assert not report.ok
    assert [finding.kind for finding in report.findings] == [kind], str(report)
    assert set(verify.KINDS) >= {kind}


def test_the_report_names_leaf_and_size():
    text = str(verify.check(fwd, MISTAKES["factor"], X, W, B, reference=reference))
    assert "WRONG" in text
    assert "w: it is 1/x.shape[0] with x.shape[0] = 4 times the right one" in text


def test_transposed_and_exchanged():
    def square(a, b):
        return a @ b, (a, b)

    def product(a, b):
        return jnp.dot(a, b)

    a, b = RNG.normal(size=(2, 4, 4))
    right = lambda res, d: (d @ res[1].T, res[0].T @ d)  # noqa: E731
    assert verify.check(square, right, a, b, reference=product, skip=VALUES_ALONE).ok
    turned = verify.check(
        square,
        lambda res, d: (right(res, d)[0].T, right(res, d)[1]),
        a,
        b,
        reference=product,
        skip=VALUES_ALONE,
    )
    assert [f.kind for f in turned.findings] == ["transposed"]
    swapped = verify.check(
        square, lambda res, d: right(res, d)[::-1], a, b, reference=product, skip=VALUES_ALONE
    )
    assert {f.kind for f in swapped.findings} == {"exchanged"}


def test_a_statistic_taken_for_a_constant():
    def centred(x):
        return x - jnp.mean(x, -1, keepdims=True)

    report = verify.check(
        lambda x: (centred(x), None), lambda res, d: (d,), X, reference=centred, skip=VALUES_ALONE
    )
    assert [f.kind for f in report.findings] == ["statistic"]
    assert "the sum over axes (1,)" in report.findings[0].text


def test_repeated_ids():
    table, ids = RNG.normal(size=(6, 3)), np.array([1, 4, 1, 0, 4, 1, 2])

    def lookup(table, ids):
        return table[ids]

    def right(ids, d):
        return jnp.zeros((6, 3), d.dtype).at[ids].add(d), None

    def overwritten(ids, d):
        return jnp.zeros((6, 3), d.dtype).at[ids].set(d), None

    pair = lambda table, ids: (table[ids], ids)  # noqa: E731
    assert verify.check(pair, right, table, ids, reference=lookup, skip=VALUES_ALONE).ok
    report = verify.check(pair, overwritten, table, ids, reference=lookup, skip=VALUES_ALONE)
    assert [f.kind for f in report.findings] == ["conditional"]
    assert "rows that ids names more than once" in report.findings[0].text


def test_a_wrong_forward_is_told_from_a_wrong_backward():
    report = verify.check(
        lambda x, w, b: (2 * fwd(x, w, b)[0], fwd(x, w, b)[1]), bwd, X, W, B, reference=reference
    )
    assert [(f.kind, f.path) for f in report.findings] == [("forward", "output")]


def test_an_output_of_another_structure_is_a_wrong_forward():
    report = verify.check(fwd, bwd, X, W, B, reference=lambda x, w, b: (reference(x, w, b), b))
    assert [(f.kind, f.path) for f in report.findings] == [("forward", "output")]
    assert "the output has ((4, 5), 'float64'); the reference's has (((4, 5), 'float64'), " in str(report)


def test_a_wrong_reference_is_told_from_a_wrong_backward():
    def stopped(x, w, b):
        return jnp.tanh(jnp.dot(x, jax.lax.stop_gradient(w)) + b[None])

    report = verify.check(fwd, bwd, X, W, B, reference=stopped)
    assert "reference" in [f.kind for f in report.findings]


def test_a_small_kink_in_a_bent_function_has_no_slope():
    bent = lambda h: np.exp(h) + 5 * h * h  # noqa: E731
    found, error = differences.slope(bent, 1.0)
    assert abs(found - 1) <= max(20 * error, 1e-9) < 1e-6
    assert not np.isfinite(differences.slope(lambda h: bent(h) + 1e-3 * abs(h), 1.0)[1])


def test_a_kink_is_undecided():
    def leaky(x):
        return jnp.maximum(x, 0)  # autodiff says 1/2 at 0

    x = np.array([[1.0, 0.0, -2.0], [0.5, -0.5, 0.0]])
    report = verify.check(
        lambda x: (leaky(x), x > 0), lambda on, d: (jnp.where(on, d, 0),), x, reference=leaky
    )
    assert report.ok, str(report)
    assert any(line.startswith("x[0, 1] (example)") for line in report.undecided)


def test_a_convention_at_kinks_can_be_asked_for():
    def rectified(x):
        return jax.nn.relu(x)  # autodiff says 0 at 0

    x = np.array([[1.0, 0.0, -2.0], [0.5, -0.5, 0.0]])
    pair = lambda x: (rectified(x), x >= 0), lambda on, d: (jnp.where(on, d, 0),)
    assert verify.check(*pair, x, reference=rectified).ok
    report = verify.check(*pair, x, reference=rectified, kinks="autodiff")
    assert [(f.kind, "where x is 0" in f.text) for f in report.findings] == [("conditional", True)]


def test_a_finding_comes_with_a_small_input_and_a_line():
    report = verify.check(fwd, MISTAKES["conditional"], X, W, B, reference=reference)
    finding = report.findings[0]
    assert max(np.size(arg) for arg in finding.example) <= 4
    assert all(np.array_equal(np.round(arg, 1), arg) for arg in finding.example)
    names = {"fwd": fwd, "bwd": MISTAKES["conditional"], "reference": reference, "jnp": jnp, "verify": verify}
    again = eval(finding.line, names)
    assert "x" in {f.path for f in again.findings}
    assert finding.line in str(report)


def test_the_line_of_a_large_input_names_its_example():
    table, ids = RNG.normal(size=(60, 3)), np.arange(50)
    report = verify.check(
        lambda table, ids: (table[ids], ids),
        lambda ids, d: (jnp.zeros((60, 3)).at[ids].add(d).at[59].set(1), None),
        table, ids, reference=lambda table, ids: table[ids], skip={"shrinking": "to see a large one"},
    )  # fmt: skip
    finding = report.findings[0]
    assert finding.line == "verify.check(fwd, bwd, *report.findings[0].example, reference=reference, " + (
        "skip={'shrinking': 'to see a large one'})"
    )


def test_every_dtype_has_its_rows():
    bad = wrong(lambda dx, dw, db, res, dy: (dx, dw * (1 + 1e-4), db))
    asked = {"reference": reference, "skip": VALUES_ALONE}
    report = verify.check(fwd, bwd, X, W, B, dtypes=[jnp.float64, jnp.bfloat16], **asked)
    assert report.ok, str(report)
    assert [(leaf.path, leaf.dtype) for leaf in report.leaves] == [
        (path, dtype) for dtype in ("float64", "bfloat16") for path in "xwb"
    ]
    report = verify.check(fwd, bad, X, W, B, dtypes=[jnp.bfloat16, jnp.float32], **asked)
    assert [(leaf.path, leaf.dtype) for leaf in report.leaves if leaf.verdict == "wrong"] == [
        ("w", "float32")
    ]


def test_a_use_that_is_forgotten():
    def tied(x, w):
        return jnp.dot(jnp.tanh(jnp.dot(x, w)), w.T)

    def of_the_encoder_only(res, d):
        x, w, h = res
        dz = d @ w * (1 - h**2)
        return dz @ w.T, x.T @ dz

    def pair(x, w):
        return tied(x, w), (x, w, jnp.tanh(x @ w))

    report = verify.check(pair, of_the_encoder_only, X, W, reference=tied, skip=VALUES_ALONE)
    assert [(f.kind, f.path) for f in report.findings] == [("path", "w")]
    assert "of 2 of the argument in the reference" in report.findings[0].text


def test_a_batch_that_the_output_has_no_more():
    def mean_square(x, y):
        return jnp.mean((x - y) ** 2)

    def back(e, d, of_one):
        dx = d * 2 * e / e.size
        dx = dx if len(e) > 1 else of_one * dx
        return dx, -dx

    pair = lambda x, y: (mean_square(x, y), x - y)  # noqa: E731
    assert verify.check(
        pair, lambda e, d: back(e, d, 1), X, X[::-1], reference=mean_square, skip=NO_SHRINKING
    ).ok
    report = verify.check(
        pair, lambda e, d: back(e, d, 2), X, X[::-1], reference=mean_square, skip=NO_SHRINKING
    )
    assert {f.kind for f in report.findings} == {"batch"}


def test_an_output_with_integers():
    def largest(x):
        return jnp.max(x, -1), jnp.argmax(x, -1)

    def back(at, d):
        return (jax.nn.one_hot(at, 3, dtype=d[0].dtype) * d[0][:, None],)

    assert verify.check(
        lambda x: (largest(x), largest(x)[1]), back, X, reference=largest, skip=VALUES_ALONE
    ).ok
    report = verify.check(
        lambda x: ((largest(x)[0], largest(x)[1] * 0), largest(x)[1]),
        back,
        X,
        reference=largest,
        skip=VALUES_ALONE,
    )
    assert [(f.kind, f.path) for f in report.findings] == [("forward", "output[1]")]


def test_a_part_left_out_is_noted_with_its_reason():
    report = verify.check(fwd, bwd, X, W, B, reference=reference, skip={"batches": "the batch is fixed"})
    assert "left out: batches (the batch is fixed)" in report.notes
    assert verify.check(fwd, MISTAKES["batch"], X, W, B, reference=reference, skip={"batches": "so"}).ok


def test_a_gradient_that_is_zero_is_noted():
    constant = lambda x: jnp.sum(jax.nn.softmax(x, -1), -1)  # noqa: E731
    report = verify.check(lambda x: (constant(x), x), lambda x, d: (0 * x,), X, reference=constant)
    assert report.ok, str(report)


def test_thorough_climbs_more():
    found = verify.check(fwd, bwd, X, W, B, reference=reference, level="thorough")
    assert found.ok, str(found)


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


def test_leaves_of_a_tree_are_named():
    def loss(params, x):
        return x @ params["layers"][0]["w"] + params["b"][None]

    params = {"layers": [{"w": W}], "b": B}

    def back(res, d):
        params, x = res
        return {"layers": [{"w": 2 * x.T @ d}], "b": None}, d @ params["layers"][0]["w"].T

    report = verify.check(
        lambda params, x: (loss(params, x), (params, x)), back, params, X, reference=loss, skip=VALUES_ALONE
    )
    assert {(f.kind, f.path) for f in report.findings} == {
        ("structure", "params['b']"),
        ("factor", "params['layers'][0]['w']"),
    }


def test_not_deterministic():
    calls = iter(range(10_000))

    def noisy(res, d):
        noise = jax.pure_callback(lambda: np.float64(next(calls)), jax.ShapeDtypeStruct((), jnp.float64))
        return tuple(c * (1 + 1e-15 * noise) for c in bwd(res, d))

    report = verify.check(fwd, noisy, X, W, B, reference=reference, level="default")
    assert "not deterministic" in {f.kind for f in report.findings}


def test_a_forward_that_is_not_deterministic():
    calls = iter(range(10_000))

    def noisy(x, w, b):
        y, res = fwd(x, w, b)
        return y + 1e-18 * next(calls), res

    report = verify.check(noisy, bwd, X, W, B, reference=reference)
    assert [(f.kind, f.path) for f in report.findings] == [("not deterministic", "")]


def test_examples_of_a_strategy():
    drawn = st.tuples(
        strategies.floats((4, 3), np.float64), strategies.floats((3, 5), np.float64), st.just(B)
    )
    assert verify.check(fwd, bwd, reference=reference, examples=drawn, level="quick").ok
    report = verify.check(fwd, MISTAKES["sign"], reference=reference, examples=drawn, level="quick")
    assert [f.kind for f in report.findings] == ["sign"]


@settings(max_examples=5)
@given(args=strategies.like((X, W, B)), labels=strategies.integers((4,), 0, 2))
def test_inside_hypothesis(args, labels):
    verify.assert_gradients(fwd, bwd, *args, reference=reference, level="quick")
    assert labels.shape == (4,)
    assert set(labels) <= {0, 1, 2}


def host(x):
    return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)


BAD = {
    "fwd was 3; expected a function": lambda: verify.check(3, bwd, X),  # pyright: ignore[reportArgumentType]
    "no arguments were given": lambda: verify.check(fwd, bwd),
    "level was 'thorogh'; did you mean 'thorough'": lambda: verify.check(fwd, bwd, X, W, B, level="thorogh"),
    "kinks was 'left'; expected one of undecided, autodiff": lambda: verify.check(fwd, bwd, X, kinks="left"),
    "skip was 'batch'; did you mean 'batches'": lambda: verify.check(fwd, bwd, X, skip={"batch": "x"}),
    "skip.'batches'. was ''; expected the reason": lambda: verify.check(fwd, bwd, X, skip={"batches": ""}),
    "skip was .'batches'.; expected a part and the reason": lambda: verify.check(
        fwd,
        bwd,
        X,
        skip=["batches"],  # pyright: ignore[reportArgumentType]
    ),
    "dtypes named <class 'int'>; expected floating point": lambda: verify.check(fwd, bwd, X, dtypes=[int]),
    "an argument is complex": lambda: verify.check(fwd, bwd, X + 1j, W, B),
    "an argument was 'text'": lambda: verify.check(fwd, bwd, "text"),
    "an argument was array.*dtype=object": lambda: verify.check(fwd, bwd, np.array([None])),
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
    with pytest.raises((TypeError, ValueError), match=message):
        BAD[message]()


def test_cotangents_of_another_number():
    report = verify.check(fwd, lambda res, d: bwd(res, d)[:2], X, W, B, reference=reference)
    assert [f.kind for f in report.findings] == ["structure"]
    assert "returned 2; expected a tuple of 3" in report.findings[0].text


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
