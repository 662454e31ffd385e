"""Every pair as it is used: under `lax.scan`, by way of the bridge, with residuals that hold no params."""

import functools
import inspect
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_ref.verify import oracle
from jax_ref.verify.subject import of_op
from manual_bp import differentiable
from tests.close import close
from tests.ops.rows import FULL, OTHERS, Row, params


class Used(NamedTuple):
    """A row, and two draws of its arguments and cotangents with what the pair and the bridge make of each."""

    row: Row
    draws: list[tuple[tuple[Any, ...], Any]]
    results: list[tuple[Any, tuple[Any, ...]]]
    bridged: list[tuple[Any, tuple[Any, ...]]]


@pytest.fixture(scope="module", params=params(FULL) + params(OTHERS, pytest.mark.slow))
def used(request) -> Used:
    row = request.param
    pair = of_op(row.case.op, row.case.reference, **row.example.static)

    def drawn(seed: int) -> tuple[tuple[Any, ...], Any]:
        args, rng = row.example.draw(seed), np.random.default_rng(seed)
        output = jax.eval_shape(pair.forward, *args)
        return args, jax.tree.map(lambda y: rng.normal(size=y.shape), output)

    function = functools.partial(differentiable(row.case.op), **row.example.static)

    @jax.jit
    def both(args, d_output):  # in one program, most of which is compiled once
        return pair.run(args, d_output), oracle.value_and_vjp(function, args, d_output)

    draws = [drawn(seed) for seed in range(2)]
    results, bridged = zip(*(both(*given) for given in draws), strict=True)
    return Used(row, draws, list(results), list(bridged))


def stacked(*trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def with_params(op, args):
    """The argument that `bwd` is given again, if there is one."""
    kinds = [p.kind for p in inspect.signature(op.bwd).parameters.values()]
    return args[:1] if kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) == 3 else ()


def test_residuals_stack_under_scan(used):
    op, static = used.row.case.op, used.row.example.static

    def forward(_, step):
        return None, op.fwd(*step[0], **static)[1]

    def reverse(_, step):
        (args, d_output), residuals = step
        return None, op.bwd(*with_params(op, args), residuals, d_output, **static)

    @jax.jit
    def scanned(steps):
        _, residuals = jax.lax.scan(forward, None, steps)
        return jax.lax.scan(reverse, None, (steps, residuals))[1]

    cotangents = scanned(stacked(*used.draws))
    close(jax.tree.leaves(cotangents), jax.tree.leaves(stacked(*(d for _, d in used.results))))


def test_the_bridge_has_the_gradient_of_the_pair(used):
    close(jax.tree.leaves(used.bridged), jax.tree.leaves(used.results))


def test_params_are_not_saved(used):
    case, example = used.row
    saved = jax.make_jaxpr(lambda *args: case.op.fwd(*args, **example.static)[1])(*example.args).jaxpr
    given = set(saved.invars[: len(jax.tree.leaves(with_params(case.op, example.args)))])
    assert not given & {v for v in saved.outvars if not hasattr(v, "val")}


def test_the_backward_is_its_own_derivative_by_the_cotangent(used):
    """Also where the cotangent is zero, or all one number, as weights of examples are to begin with."""
    (args, d_output), (_, cotangents) = used.draws[0], used.results[0]
    op, static = used.row.case.op, used.row.example.static

    @jax.jit
    def derivatives(args, d_output, back, value):
        residuals = op.fwd(*args, **static)[1]

        def backward(d):
            return jax.tree.leaves(op.bwd(*with_params(op, args), residuals, d, **static))

        at = jax.tree.map(lambda d: jnp.broadcast_to(value, d.shape), d_output)
        return jax.jvp(backward, (at,), (d_output,))[1], jax.vjp(backward, at)[1](back)[0]

    expected = jax.tree.leaves(cotangents)
    back = [jnp.cos(c) for c in expected]
    for value in (0.0, 1.0):
        forward, reverse = derivatives(args, d_output, back, value)
        close(forward, expected)
        pairs = jax.tree.leaves(reverse), jax.tree.leaves(d_output), back, expected
        a, b, c, d = (np.concatenate([np.ravel(leaf) for leaf in leaves]) for leaves in pairs)
        assert abs(a @ b - c @ d) <= 1e-13 * np.linalg.norm(c) * np.linalg.norm(d)
