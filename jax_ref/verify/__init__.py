"""Is a hand-written gradient right? If not, which argument's, where, and what is it instead?

    report = verify.check(fwd, bwd, *args, reference=f)            # the two halves of a jax.custom_vjp
    report = verify.check_op(op, *args, reference=f, **static)     # an object with fwd and bwd
    report = verify.check_function(g, *args, reference=f)          # a ready custom_vjp function
    verify.assert_gradients(fwd, bwd, *args, reference=f)          # any of the three; raises with the report

`args` are one example; other values, shapes and cotangents are made from it. `oracle` differentiates the
reference in float64, `inputs` and `points` make arguments, `tolerance` says how far from the oracle a
gradient may be, `steps` lists what is tried to explain a wrong one, and `report.KINDS` is the vocabulary of
what can be wrong.
"""

from jax_ref.verify import oracle
from jax_ref.verify.api import assert_gradients, check, check_function, check_op
from jax_ref.verify.comparison import tolerance
from jax_ref.verify.findings import KINDS, Finding, Leaf, Report
from jax_ref.verify.points import inputs

__all__ = [
    "KINDS",
    "Finding",
    "Leaf",
    "Report",
    "assert_gradients",
    "check",
    "check_function",
    "check_op",
    "inputs",
    "oracle",
    "tolerance",
]
