"""Ops without `jax.jit` around them: where JAX's own are one program, so are the hand-written ones."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from jax_ref.verify import oracle
from jax_ref.verify.subject import of_op
from manual_bp.ops import activations, log_softmax
from tests.cases import CASES

COMPILED = [name for name in CASES if name.startswith("activations.") or name == "log_softmax"]
"""Those whose reference JAX compiles for itself."""

Z = jnp.asarray(np.random.default_rng(0).normal(size=(7, 5)))
A_LIST: Any = [0.1]
AN_ARRAY: Any = jnp.asarray(0.1)


@pytest.fixture
def without_runtime_types():
    """As for a user, who has no type checker at run time: the messages are the ops' own."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def programs(function, *args) -> int:
    """How many JAX runs without `jit`: one per equation, but for those whose results have no entries."""
    equations = jax.make_jaxpr(function)(*args).jaxpr.eqns
    return sum(any(v.aval.size for v in equation.outvars) for equation in equations)


@pytest.mark.parametrize("name", COMPILED)
def test_forward_and_backward_are_no_more_programs_than_those_of_autodiff(name):
    for example in CASES[name].examples:
        pair = of_op(CASES[name].op, CASES[name].reference, **example.static)
        output = jax.eval_shape(pair.reference, *example.args)
        given = example.args, jnp.zeros(output.shape, output.dtype)
        autodiff = programs(partial(oracle.value_and_vjp, pair.reference), *given)
        assert programs(pair.run, *given) <= autodiff, example


@pytest.mark.parametrize("member", activations.MEMBERS)
def test_what_is_saved_of_input_and_output_is_no_copy(member):
    row = next(line for line in (activations.__doc__ or "").splitlines() if line.split()[:1] == [member])
    a, saved = activations.MEMBERS[member].fwd(Z)
    said = row.rpartition("(")[0].split()[-1]  # the last column
    if said in ("a", "z"):
        assert saved is {"a": a, "z": Z}[said]
    if said == "-":
        assert a is Z


@pytest.mark.usefixtures("without_runtime_types")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: activations.silu.fwd(1.0), "silu: z is a float; expected"),
        (lambda: activations.gelu.bwd(Z, Z[0]), r"gelu: da has shape \(5,\); expected"),
        (lambda: activations.leaky_relu.fwd(Z, slope=A_LIST), r"leaky_relu: slope was \[0.1\]; expected"),
        (lambda: activations.leaky_relu.bwd(activations.leaky_relu.fwd(Z)[1], Z, slope=AN_ARRAY),
         r"leaky_relu: slope was Array\(.*\); expected"),
        (lambda: activations.elu.bwd(Z, Z, alpha=A_LIST), r"elu: alpha was \[0.1\]; expected"),
        (lambda: log_softmax.fwd(Z, axis=A_LIST), r"log_softmax: axis was \[0.1\]; expected"),
        (lambda: log_softmax.bwd(log_softmax.fwd(Z)[1], Z, axis=A_LIST),
         r"log_softmax: axis was \[0.1\]; expected"),
    ],
)  # fmt: skip
def test_errors_are_raised_before_anything_is_compiled(call, message):
    """One from inside a compiled function has a note about JAX's frames, and hash's complaint of options."""
    with pytest.raises((TypeError, ValueError), match=message) as error:
        call()
    assert not getattr(error.value, "__notes__", [])
