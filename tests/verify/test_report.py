"""What the report says: rows, findings, a small example, and a line that shows it."""

import gc

import jax.numpy as jnp
import numpy as np

from jax_ref import verify
from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.points.point import Point
from tests.verify.layer import NO_SHRINKING, VALUES_ALONE, B, W, X, bwd, fwd, reference, wrong

scaled = wrong(lambda dx, dw, db, res, dy: (dx, dw / len(dy), db))
doubled_below_zero = wrong(lambda dx, dw, db, res, dy: (jnp.where(res[0] < 0, 2 * dx, dx), dw, db))


def test_the_report_names_leaf_and_size():
    text = str(verify.check(fwd, scaled, X, W, B, reference=reference))
    assert "WRONG" in text
    assert "w: it is 1/x.shape[0] with x.shape[0] = 4 times the right one" in text


def test_a_finding_comes_with_a_small_input_and_a_line():
    report = verify.check(fwd, doubled_below_zero, X, W, B, reference=reference)
    finding = report.findings[0]
    assert max(np.size(arg) for arg in finding.example) <= 9  # of fewer, another sentence is as true
    assert all(np.array_equal(np.round(arg, 1), arg) for arg in finding.example)
    names = {"fwd": fwd, "bwd": doubled_below_zero, "reference": reference, "jnp": jnp, "verify": verify}
    again = eval(finding.line, names)
    assert finding.text in {f.text for f in again.findings}
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
    assert [
        (leaf.path, leaf.dtype, "seen in float64" in leaf.where)
        for leaf in report.leaves
        if leaf.verdict == "wrong"
    ] == [
        ("w", "bfloat16", True),
        ("w", "float32", False),
    ]


def test_a_gradient_that_is_zero_is_noted():
    report = verify.check(lambda x: (jnp.floor(x), None), lambda res, d: (0 * d,), X, reference=jnp.floor)
    assert report.ok, str(report)
    assert [leaf.verdict for leaf in report.leaves] == ["zero"]
    assert "degenerate: the gradient of x is zero wherever it was looked at" in report.notes


def test_nothing_that_was_seen_is_kept():
    args = [a.astype(np.float32) for a in (X, W, B)]
    report = verify.check(fwd, scaled, *args, reference=reference, skip=NO_SHRINKING)
    assert [f.kind for f in report.findings] == ["factor"]
    gc.collect()
    assert not [x for x in gc.get_objects() if type(x) in (Seen, Point)]
