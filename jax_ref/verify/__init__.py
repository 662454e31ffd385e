"""Verification of hand-written gradients against autodiff in float64, with a diagnosis of what is wrong.

    report = verify.check(fwd, bwd, *args, reference=f)            # the two halves of a jax.custom_vjp
    report = verify.check_op(op, *args, reference=f, **static)     # an object with fwd and bwd
    report = verify.check_function(g, *args, reference=f)          # a ready custom_vjp function
    report = verify.check_jvp(g, *args, reference=f)               # a ready custom_jvp function
    report = verify.check_value_and_grad(g, params, batch, reference=loss)  # the gradient of a model
    verify.assert_gradients(fwd, bwd, *args, reference=f)          # the first three; raises with the report
    report = verify.check_sharded(op, *args, mesh=mesh, in_specs=..., out_specs=..., reference=f)  # shard_map
    python -m jax_ref.verify module:name --example module:args     # without a file of tests

`api` brings what it is given to one form, a `subject` and `options`; `runner` runs the `checks` on it, and a
`session` keeps what was seen; `attempts` tells what raises, and `clock` when the time is over. `points` says
where it is checked, `oracle` what is right there, and `comparison` how far a cotangent is from that and how
far it may be. `report` tells what was found, in the words of `findings`; `diagnosis` looks for what a wrong
cotangent is instead, among others by changing single steps of the reference, which `program` lists.
`second_order` does the same for the gradient of the gradient, and `sharded` for what each device of a mesh
has. `trees` and `structure` are about pytrees,
`strategies` for Hypothesis. Imports go one way: api, report, diagnosis and runner, checks, attempts, session,
comparison, points and program, trees.
"""

from jax_ref.verify import oracle
from jax_ref.verify.api import (
    assert_gradients,
    check,
    check_function,
    check_jvp,
    check_op,
    check_value_and_grad,
)
from jax_ref.verify.comparison import tolerance
from jax_ref.verify.findings import KINDS, Finding, Leaf, Report
from jax_ref.verify.glossary import WORDS
from jax_ref.verify.points import inputs
from jax_ref.verify.sharded import check_sharded

__all__ = [
    "KINDS",
    "WORDS",
    "Finding",
    "Leaf",
    "Report",
    "assert_gradients",
    "check",
    "check_function",
    "check_jvp",
    "check_op",
    "check_sharded",
    "check_value_and_grad",
    "inputs",
    "oracle",
    "tolerance",
]
