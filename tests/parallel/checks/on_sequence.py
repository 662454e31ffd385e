"""Ring attention: the output and the gradient of one device, in both orders of time; what travels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import jax_ref
from manual_bp.parallel import sequence
from tests.close import close
from tests.parallel.meshes import compiled, mesh, on, sent

TIME = P(None, "t")


def drawn(times, *, batch=3, heads=4, key_heads=2, dim=5, dtype=np.float64):
    """q, k, v and the cotangent of o."""
    rng = np.random.default_rng(0)
    shapes = [(batch, times, h, dim) for h in (heads, key_heads, key_heads, heads)]
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def ring(n, args, *, check_vma=True, **static):
    """A program for o and the cotangents of q, k and v."""

    def local(q, k, v, do):
        o, res = sequence.ring_attention.fwd(q, k, v, axis="t", **static)
        return o, *sequence.ring_attention.bwd(res, do, axis="t", **static)

    return compiled(on(mesh(t=n), local, (TIME,) * 4, (TIME,) * 4, check_vma=check_vma), *args)


def oracle(q, k, v, do, **static):
    o, vjp = jax.vjp(lambda *x: jax_ref.ops.attention.apply(*x, **static), q, k, v)
    return o, *vjp(do)


def assert_keys_travel(program, args):
    """k and v forward and again backward, and their cotangents, not before anything is added."""
    found = sent(program)
    assert {c.kind for c in found} == {"collective-permute"}
    assert sum(c.times for c in found) == 3 + 3 + 3
    assert sum(c.bytes * c.times for c in found) == 9 * 2 * args[1].nbytes // 4


def assert_queries_travel(program, args):
    """k and v forward; backward q and do, two numbers a query and head, and dq, once something is added."""
    q, k = (x.nbytes // 4 for x in args[:2])
    found = sent(program)
    assert {c.kind for c in found} == {"collective-permute"}
    assert sum(c.times for c in found) == 3 + 3 + 3 + 3
    assert sum(c.bytes * c.times for c in found) == 3 * (2 * k + 3 * q + 2 * q // args[0].shape[3])


def in_balanced_order(n, args, **static):
    """The program, and what it finds in the order of time."""
    program = ring(n, args, causal=True, order="balanced", **static)
    found = program(*(sequence.balanced(x, n) for x in args))
    return program, tuple(sequence.in_time(x, n) for x in found)


def test_fewer_heads_of_the_keys_travel():
    args = drawn(4 * 3)
    program = ring(4, args, causal=True)
    close(program(*args), oracle(*args, causal=True), 1e-12)
    assert_keys_travel(program, args)


def test_queries_travel_where_keys_have_as_many_heads():
    args = drawn(4 * 6, heads=1, key_heads=1)
    program, found = in_balanced_order(4, args)
    close(found, oracle(*args, causal=True), 1e-12)
    assert_queries_travel(program, args)


@pytest.mark.slow
@pytest.mark.parametrize("static", [{}, {"causal": True, "soft_cap": 2.0}])
def test_queries_travel_in_the_order_of_time(static):
    args = drawn(4 * 3, key_heads=4)
    program = ring(4, args, **static)
    close(program(*args), oracle(*args, **static), 1e-12)
    assert_queries_travel(program, args)


@pytest.mark.slow
def test_heads_of_two_features_are_fewer_bytes_as_keys():
    """Of which q, do and dq with two numbers a query are as many as k, v and their cotangents."""
    args = drawn(4 * 6, key_heads=4, dim=2)
    program, found = in_balanced_order(4, args)
    close(found, oracle(*args, causal=True), 1e-12)
    assert_keys_travel(program, args)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "each", "static", "check_vma"),
    [
        (4, 3, {}, True),
        (3, 1, {"causal": True, "scale": 0.7, "soft_cap": 2.0}, True),
        (2, 5, {"causal": True}, False),
        (1, 4, {"causal": True}, True),
        (3, 1, {}, True),
    ],
)
def test_more_of_the_same(n, each, static, check_vma):
    args = drawn(n * each)
    found = ring(n, args, check_vma=check_vma, **static)(*args)
    close(found, oracle(*args, **static), 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "each", "key_heads"), [(4, 2, 2), (3, 6, 2), (3, 2, 4), (2, 6, 4), (1, 2, 4)])
def test_more_in_balanced_order(n, each, key_heads):
    args = drawn(n * each, key_heads=key_heads)
    _, found = in_balanced_order(n, args)
    close(found, oracle(*args, causal=True), 1e-12)


@pytest.mark.slow
def test_without_an_axis_it_is_one_device():
    q, k, v, do = drawn(6)
    o, res = sequence.ring_attention.fwd(q, k, v, axis=None, causal=True)
    found = sequence.ring_attention.bwd(res, do, axis=None, causal=True)
    close((o, *found), oracle(q, k, v, do, causal=True), 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("key_heads", [2, 4])
def test_bfloat16_is_no_further_off_than_one_device(key_heads):
    args = drawn(16, key_heads=key_heads, dtype=jnp.bfloat16)
    exact = oracle(*(x.astype(np.float64) for x in args), causal=True)
    of_ring = ring(4, args, causal=True)(*args)
    for found, own, right in zip(of_ring, oracle(*args, causal=True), exact, strict=True):
        assert found.dtype == jnp.bfloat16
        error, of_autodiff = (jnp.linalg.norm(x.astype(np.float64) - right) for x in (found, own))
        assert error <= 2 * of_autodiff + 4 * float(jnp.finfo(jnp.bfloat16).eps) * jnp.linalg.norm(right)


@pytest.mark.parametrize("order", sequence.ORDERS)
def test_times(order):
    whole = jnp.arange(24, dtype=jnp.int32)
    f = on(mesh(t=4), lambda: sequence.times(6, axis="t", order=order), (), P("t"))
    expected = whole if order == "contiguous" else sequence.balanced(whole, 4, dim=0)
    np.testing.assert_array_equal(f(), expected)
    np.testing.assert_array_equal(sequence.in_time(sequence.balanced(whole, 4, dim=0), 4, dim=0), whole)


def test_balanced_order_has_half_the_products():
    """In the body of the loop: either side of a condition has half the scores of a stop."""
    q, k, v, _ = drawn(4 * 6, heads=1, key_heads=1)
    scores = {}
    for order in sequence.ORDERS:
        f = on(
            mesh(t=4),
            lambda *x, order=order: sequence.ring_attention.fwd(*x, axis="t", causal=True, order=order)[0],
            (TIME,) * 3,
            TIME,
        )
        program = str(jax.make_jaxpr(f)(q, k, v))
        scores[order] = [f"f64[3,1,1,{t},{s}]" in program for t, s in ((6, 6), (6, 3), (3, 6))]
    assert scores == {"contiguous": [True, False, False], "balanced": [True, True, True]}
