"""The same mathematics as `manual_bp`, as plain JAX forward code that JAX itself differentiates.

`ops` and `models` are written from the definitions with stock `jax.nn` and `jax.lax`; `verify` holds
what is needed to compare a hand-written backward with their derivative.
"""

from jax_ref import models, ops, verify

__all__ = ["models", "ops", "verify"]

__version__ = "0.1.0"
