"""The verifier: what it says of a right gradient, and of each kind of wrong one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_ref import verify
from tests.verify.layer import NO_SHRINKING, VALUES_ALONE, B, W, X, bwd, fwd, reference, wrong

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

    a, b = np.random.default_rng(1).normal(size=(2, 4, 4))
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
    table, ids = np.random.default_rng(1).normal(size=(6, 3)), np.array([1, 4, 1, 0, 4, 1, 2])

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
    table, ids = np.random.default_rng(1).normal(size=(60, 3)), np.arange(50)
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


def test_a_gradient_that_is_zero_is_noted():
    report = verify.check(lambda x: (jnp.floor(x), None), lambda res, d: (0 * d,), X, reference=jnp.floor)
    assert report.ok, str(report)
    assert [leaf.verdict for leaf in report.leaves] == ["zero"]
    assert "degenerate: the gradient of x is zero wherever it was looked at" in report.notes


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
