"""What a hand-written backward is held against.

`oracle` differentiates the reference, `inputs` climbs the ladder of arguments and cotangents, and
`tolerance` says how far from the oracle a gradient may be, leaf by leaf.
"""

from jax_ref.verify import inputs, oracle, tolerance

__all__ = ["inputs", "oracle", "tolerance"]
