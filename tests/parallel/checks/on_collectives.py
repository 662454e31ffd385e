"""Collectives: their meaning on whole arrays, and each transpose by an inner product over all devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jax_ref import parallel as reference
from manual_bp.parallel import collectives
from tests.close import close
from tests.parallel.meshes import copies, mesh, on

N = 4
DIMS = {"all_gather": 3, "reduce_scatter": 3, "all_to_all": 3}
WHOLE_IN, WHOLE_OUT = {"copy"}, {"all_reduce"}
"""What takes, or returns, one array that all devices have."""


def static(name, dim):
    return {"dim": dim} if name in DIMS else {}


def shape(name, dim):
    """Lengths that differ, and divide by the devices where they must."""
    lengths = [3, 5, 2]
    if name in ("reduce_scatter", "all_to_all"):
        lengths[dim] *= N
    return lengths


def per_device(f, whole_in, whole_out):
    """`f` of this device's row of the first axis, or of the one array; likewise its result."""

    def local(x):
        y = f(x if whole_in else x[0])
        return y if whole_out else y[None]

    return on(mesh(d=N), local, P() if whole_in else P("d"), P() if whole_out else P("d"))


def pairs():
    return [(name, dim) for name in collectives.MEMBERS for dim in range(DIMS.get(name, 1))]


MIDDLE = 1


@pytest.mark.parametrize(
    ("name", "dim"),
    [pytest.param(n, d, marks=[pytest.mark.slow] * (n in DIMS and d != MIDDLE)) for n, d in pairs()],
)
def test_values_and_transposes(name, dim):
    pair, options, rng = collectives.MEMBERS[name], static(name, dim), np.random.default_rng(0)
    whole_in, whole_out = name in WHOLE_IN, name in WHOLE_OUT
    x = jnp.asarray(rng.normal(size=shape(name, dim) if whole_in else (N, *shape(name, dim))))
    forward = per_device(lambda x: pair.fwd(x, axis="d", **options)[0], whole_in, whole_out)
    y = forward(x)
    expected = getattr(reference, name)(x, *([N] if name == "copy" else []), **options)
    close(np.asarray(y), np.asarray(expected))

    c = jnp.asarray(rng.normal(size=y.shape))
    backward = per_device(lambda c: pair.bwd(None, c, axis="d", **options), whole_out, whole_in)
    dx = backward(c)
    assert dx.shape == x.shape
    assert np.isclose(jnp.vdot(c, y), jnp.vdot(dx, x), rtol=1e-13)  # <c, A x> = <A^T c, x>
    # A is linear, so that its transpose is JAX's own of the reference
    (of_reference,) = jax.linear_transpose(
        lambda x: getattr(reference, name)(x, *([N] if name == "copy" else []), **options), x
    )(c)
    close(np.asarray(dx), np.asarray(of_reference))


@pytest.mark.parametrize(
    ("one", "other"), [("copy", "all_reduce"), ("all_gather", "reduce_scatter"), ("all_to_all", "all_to_all")]
)
def test_partners_are_each_other_backwards(one, other):
    one, other = collectives.MEMBERS[one], collectives.MEMBERS[other]
    x = jnp.arange(float(N * N * 15)).reshape(N * N, 5, 3) ** 2

    def local(x):
        there, back = one.fwd(x, axis="d")[0], other.bwd(None, x, axis="d")
        return there, back

    is_copy = one is collectives.copy
    there, back = on(mesh(d=N), local, P() if is_copy else P("d"), P("d"))(x)
    np.testing.assert_array_equal(there, back)


def test_what_is_whole_is_the_same_on_all_devices():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(N, 1000)))
    y = per_device(lambda x: collectives.all_reduce.fwd(x, axis="d")[0], False, True)(x)
    first, *others = copies(y)
    assert len(others) == N - 1
    for other in others:
        np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize("name", collectives.MEMBERS)
def test_without_an_axis_it_is_the_identity(name):
    x = jnp.arange(6.0).reshape(2, 3)
    pair = collectives.MEMBERS[name]
    assert pair.fwd(x, axis=None) == (x, None)
    assert pair.bwd(None, x, axis=None) is x


@pytest.mark.parametrize(("name", "dim"), pairs())
def test_one_device_is_the_identity_too(name, dim):
    x = jnp.arange(30.0).reshape(3, 5, 2)
    pair, options = collectives.MEMBERS[name], static(name, dim)

    def local(x):
        y = pair.fwd(x, axis="d", **options)[0]
        return y, pair.bwd(None, y, axis="d", **options)

    specs = (P() if name in WHOLE_OUT else P("d"), P() if name in WHOLE_IN else P("d"))
    y, dx = on(mesh(d=1), local, P() if name in WHOLE_IN else P("d"), specs)(x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(dx, x)


def test_two_axes_are_summed_as_one():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))
    f = on(mesh(a=2, b=2), lambda x: collectives.all_reduce.fwd(x, axis=("a", "b"))[0], P(("a", "b")), P())
    close(np.asarray(f(x)), np.asarray(jnp.sum(x, 0, keepdims=True)))


def test_under_vmap_with_the_name_of_an_axis():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)))
    y = jax.vmap(lambda x: collectives.all_reduce.fwd(x, axis="d")[0], axis_name="d")(x)
    close(np.asarray(y[2]), np.asarray(x.sum(0)))
