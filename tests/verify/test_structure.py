"""Cotangents whose trees, shapes or dtypes are not those of the arguments."""

from jax_ref import verify
from tests.verify.layer import VALUES_ALONE, B, W, X, bwd, fwd, reference


def test_cotangents_of_another_number():
    report = verify.check(fwd, lambda res, d: bwd(res, d)[:2], X, W, B, reference=reference)
    assert [f.kind for f in report.findings] == ["structure"]
    assert "returned 2; expected a tuple of 3" in report.findings[0].text


def test_trees_of_other_containers():
    def pair(back):
        return lambda p: (p[0] * p[1], p), back

    product = lambda p: p[0] * p[1]  # noqa: E731
    listed = lambda p, d: [[d * p[1], d * p[0]]]  # noqa: E731
    assert verify.check(*pair(listed), [X, X], reference=product).ok
    report = verify.check(*pair(lambda p, d: (tuple(listed(p, d)[0]),)), [X, X], reference=product)
    assert [(f.kind, f.path) for f in report.findings] == [("structure", "p")]
    assert "the cotangent is PyTreeDef((*, *)); expected PyTreeDef([*, *])" in report.findings[0].text


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


def test_an_output_of_another_structure_is_a_wrong_forward():
    report = verify.check(fwd, bwd, X, W, B, reference=lambda x, w, b: (reference(x, w, b), b))
    assert [(f.kind, f.path) for f in report.findings] == [("forward", "output")]
    assert "the output has ((4, 5), 'float64'); the reference's has (((4, 5), 'float64'), " in str(report)
