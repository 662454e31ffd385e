"""The benchmark of many devices: what is compared agrees, what is sent is pinned, and goals are judged."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec as P

from experiments.common import study
from experiments.parallel.kinds import AXIS, mesh_of
from experiments.parallel_benchmark import STUDY, problem, show
from experiments.parallel_benchmark.row import BYTES, TIME, Compiled, Row, on, put


def row_of(hand, opponent):
    """A sum over one device."""
    mesh, specs = mesh_of(1), (P(AXIS),)
    sides = [on(mesh, lambda x, f=f: f(x[0]), specs, P()) for f in (hand, opponent)]
    args = put((jnp.arange(1.0, 6.0)[None],), specs, mesh)
    return Row(
        "5", 1, args, sides[0], {"psum": sides[1]}, lambda x: x[0], (BYTES, TIME), {(BYTES, "psum"): 1}
    )


def psum(x):
    return lax.psum(x, AXIS)


def test_sides_that_agree_are_measured():
    compiled = Compiled(row_of(psum, psum))
    assert compiled.error() == 0
    found = compiled.figures(1)
    assert found["opponents"]["psum"]["ratios"][BYTES] == 1.0
    assert found["opponents"]["psum"]["goals"] == {BYTES: 1}
    assert found["hand"][TIME] > 0


@pytest.mark.parametrize(("sides", "named"), [((1, 2), "psum"), ((2, 1), "hand")])
def test_a_side_that_is_no_gradient_is_named(sides, named):
    compiled = Compiled(row_of(*(lambda x, f=f: f * psum(x) for f in sides)))
    with pytest.raises(
        ArithmeticError, match=f"^{named} is 1 from the gradient of one device; expected 1e-12"
    ):
        compiled.error()


def figures(**of_opponent):
    side = {"figures": {BYTES: 4}, "ratios": {BYTES: 0.674}, "goals": {BYTES: 0.67}}
    row = {"row": "sum", "size": "5", "devices": 4, "error": 0.0, "tolerance": 1e-12, "hand": {BYTES: 3}}
    return {"rows": [row | {"opponents": {"psum": side | of_opponent}}]}


def test_goals_are_judged_as_ratios_are_printed():
    assert show.sentence(figures()).startswith("1 of 1 goals are met; in float64")
    missed = show.sentence(figures(ratios={BYTES: 0.676}))
    assert missed.startswith("0 of 1 goals are met; not sum bytes against psum (0.68, goal 0.67);")
    assert show.sentence(figures(ratios={BYTES: None})).startswith("0 of 1 goals are met; not sum bytes")


@pytest.mark.slow
def test_all_rows_agree_and_send_what_they_must(tmp_path):
    out = tmp_path / "run"
    assert study.run(STUDY, ["--small", "--rounds", "1", "--out", str(out)]) == 0
    rows = {row["row"]: row for row in json.loads((out / "metrics.json").read_text())["rows"]}
    assert all(row["error"] <= row["tolerance"] for row in rows.values())

    def ratio(row, opponent):
        return rows[row]["opponents"][opponent]["ratios"][BYTES]

    np.testing.assert_allclose(ratio("tensor", "jax.grad"), 4 / 6, rtol=1e-2)  # and the cost, one number
    np.testing.assert_allclose(ratio("tensor", "jax.grad, q k v fused"), 1, rtol=1e-2)
    np.testing.assert_allclose(ratio("fsdp", "jax.grad"), 3 / 2, rtol=1e-2)
    ring, of = rows["ring"], problem.SMALL
    twice_forward = ring["opponents"]["checkpoint of a layer"]["figures"][BYTES]
    fewer = of.layers * 3 * of.batch * of.times // 4 * (of.width - 2 * of.heads)  # q, do, dq for k, v, dk, dv
    assert twice_forward - ring["hand"][BYTES] == 8 * fewer
    assert ratio("pipeline", "GPipe") == pytest.approx(1, rel=0.05)


def test_a_process_without_the_devices_is_refused():
    with pytest.raises(AssertionError, match="fewer"):
        mesh_of(jax.device_count() + 1)
